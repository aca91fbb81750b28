"""How the service is run: every limit and switch, checked when it is made."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, fields
from pathlib import Path

from clipshelf.errors import InputError
from clipshelf.serve.image_hosts import LAST_PORT, ImageHost

_LOOPBACK_NAMES = ("localhost",)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The options of `clipshelf serve`.

    - `host`, `port`: where to listen; port 0 takes a free one.
    - `keys`: the file of bearer keys (`auth`), None for a service without keys, which is only allowed on loopback.
    - `writable`: whether products may be changed.
    - `cors`: the origins of pages that may call the service from a browser.
    - `image_hosts`: the hosts from which pictures may be fetched; none by default.
    - `body_limit`: bytes of the body of a request.
    - `body_memory`: bytes of all bodies in memory at one time.
    - `queue`: queries that wait for the engine; more are refused with 503.
    - `batch`: queries that are answered together.
    - `requests`: requests in progress, whatever they do; more are refused with 503.
    - `connections`: at one time, those included that wait for nothing.
    - `rate`: requests per second of one key, or of one address where there are no keys; None for no limit.
    - `deadline`: seconds after which a request is given up.
    - `body_timeout`: seconds for the body of a request, and one more for each 16 KiB of it.
    - `head_timeout`: seconds for the head of a request; `write_timeout` for a client to read its answer.
    - `drain_delay`: seconds between SIGTERM and the end of listening, in which the service says that it is not ready.
    - `drain_timeout`: seconds for the requests in progress after that.
    - `reload_interval`: seconds between looks at the catalogue's folder.
    - `pixels`: of a picture, before it is decoded.
    - `decoders`: pictures that are decoded at one time; None for one on each CPU.

    Raises InputError.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    keys: Path | None = None
    writable: bool = False
    cors: tuple[str, ...] = ()
    image_hosts: tuple[ImageHost, ...] = ()
    body_limit: int = 16 << 20
    body_memory: int = 256 << 20
    queue: int = 128
    batch: int = 32
    requests: int = 256
    connections: int = 1024
    rate: float | None = None
    deadline: float = 10.0
    body_timeout: float = 10.0
    head_timeout: float = 10.0
    write_timeout: float = 30.0
    drain_delay: float = 0.0
    drain_timeout: float = 10.0
    reload_interval: float = 1.0
    pixels: int = 40_000_000
    decoders: int | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            least = 0 if field.name in ("port", "drain_delay") else None
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                in_range = value >= least if least is not None else value > 0
                if not in_range:
                    expected = "0 or more" if least is not None else "a number above 0"
                    raise InputError(f"{field.name}: expected {expected}, found {value}")
        if self.port > LAST_PORT:
            raise InputError(f"port: expected at most {LAST_PORT}, found {self.port}")
        if self.body_memory < self.body_limit:
            raise InputError(
                f"body_memory: expected at least the body_limit of {self.body_limit} bytes, found {self.body_memory}"
            )
        if self.keys is None and not is_loopback(self.host):
            raise InputError(
                f"host: expected a loopback address such as 127.0.0.1 for a service without keys, found {self.host}; "
                "--keys FILE protects one that others can reach"
            )


def is_loopback(host: str) -> bool:
    """Whether only programs of this machine reach an address or name."""
    if host in _LOOPBACK_NAMES:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
