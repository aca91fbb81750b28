"""The hosts from which pictures may be fetched, as `--image-hosts` names them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

from clipshelf.errors import InputError

DEFAULT_PORTS = {"http": 80, "https": 443}
LAST_PORT = 65535
# A name, with a dot before it for all names below it, or an IPv6 address in brackets.
_HOST = re.compile(
    r"(?:(?P<name>\.?[\w-]+(?:\.[\w-]+)*)\.?|\[(?P<address>[\da-f:.]+)\])(?::(?P<port>\d{1,5}))?", re.ASCII
)


@dataclass(frozen=True)
class ImageHost:
    """One host, or all hosts below a domain.

    - `name`: a name or an address in lower case; `.example.org` stands for all names below example.org.
    - `port`: the only port; None for the port of the URL's scheme, 80 or 443.
    """

    name: str
    port: int | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `HOST` or `HOST:PORT`. Raises InputError."""
        match = _HOST.fullmatch(text.lower())
        port = int(match["port"]) if match and match["port"] else None
        if match is None or (port is not None and not 0 < port <= LAST_PORT):
            raise InputError(f"image host: expected HOST or HOST:PORT, such as pictures.example.org, found {text!r}")
        return cls(match["name"] or match["address"], port)

    def includes(self, scheme: str, host: str, port: int) -> bool:
        """Whether a URL of this scheme, host (in lower case) and port is one of this host."""
        is_named = host == self.name or (self.name.startswith(".") and host.endswith(self.name))
        return is_named and port == (self.port or DEFAULT_PORTS[scheme])
