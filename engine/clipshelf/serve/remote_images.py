"""Pictures by URL, from hosts that were named and nowhere else.

A name is resolved once, each of its addresses must be global, and the connection goes to the address that was checked:
a name that later leads elsewhere, and a redirect into the own network, lead nowhere. Bytes and time are capped.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Callable, Collection
from dataclasses import dataclass
from urllib.parse import SplitResult, urljoin, urlsplit

import h11

from clipshelf import __version__
from clipshelf.serve.image_hosts import DEFAULT_PORTS, ImageHost
from clipshelf.serve.problems import ProblemError

_REDIRECTS = 3
_READ_SIZE = 1 << 16
# IPv6 addresses that a gateway may turn into an IPv4 address of the own network: IPv4-compatible ones, NAT64 (RFC 6052
# and RFC 8215) and 6to4 (RFC 3056).
_TRANSLATED = tuple(map(ipaddress.IPv6Network, ("::/96", "64:ff9b::/96", "64:ff9b:1::/48", "2002::/16")))
_REDIRECT_STATUSES = {301, 302, 303, 307, 308}


def is_global(address: str) -> bool:
    """Whether an IP address is of the public internet."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        if any(ip in network for network in _TRANSLATED):
            return False
        ip = ip.ipv4_mapped or ip
    return ip.is_global and not ip.is_multicast


@dataclass(frozen=True)
class RemoteImages:
    """Fetches pictures from the hosts of --image-hosts.

    - `hosts`: those that were named; a redirect must lead to one of them, too.
    - `limit`: bytes of a picture.
    - `seconds`: for one picture, redirects included.
    - `allows`: whether an IP address may be connected to.
    - `tls`: how certificates are checked.
    """

    hosts: Collection[ImageHost]
    limit: int
    seconds: float = 5.0
    allows: Callable[[str], bool] = is_global
    tls: ssl.SSLContext | None = None

    async def fetch(self, url: str) -> bytes:
        """The bytes at a URL. Raises ProblemError."""
        try:
            async with asyncio.timeout(self.seconds):
                return await self._follow(url)
        except TimeoutError:
            raise _refused(f"an answer within {self.seconds:g} seconds, found none") from None
        except UnicodeError:  # in a path, or in a name with a part that is too long
            raise _refused("a URL in ASCII, found another") from None
        except (OSError, h11.ProtocolError) as error:
            raise _refused(f"a host that answers, found {type(error).__name__}") from None

    async def _follow(self, url: str) -> bytes:
        for _ in range(_REDIRECTS + 1):
            parts, host, port = self._check(url)
            result = await self._request(parts, host, port)
            if isinstance(result, bytes):
                return result
            url = urljoin(url, result.target)
        raise _refused(f"at most {_REDIRECTS} redirects, found more")

    def _check(self, url: str) -> tuple[SplitResult, str, int]:
        """The parts of a URL, its host and port, of a host that was named."""
        try:
            parts = urlsplit(url)
            host, port = (parts.hostname or "").rstrip("."), parts.port
        except ValueError:
            raise _refused("a well-formed URL, found another") from None
        if parts.scheme not in DEFAULT_PORTS or parts.username is not None or not host.isascii():
            raise _refused("an http or https URL without a user, found another")
        port = port or DEFAULT_PORTS[parts.scheme]
        if not any(each.includes(parts.scheme, host, port) for each in self.hosts):
            raise _refused("a host of --image-hosts, and the port of its scheme or the one named there, found another")
        return parts, host, port

    async def _request(self, parts: SplitResult, host: str, port: int) -> bytes | _Redirect:
        address = await self._resolve(host, port)
        context = (self.tls or ssl.create_default_context()) if parts.scheme == "https" else None
        reader, writer = await asyncio.open_connection(
            address, port, ssl=context, server_hostname=host if context else None, limit=_READ_SIZE
        )
        try:
            named = f"[{host}]" if ":" in host else host
            default = port == DEFAULT_PORTS[parts.scheme]
            target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            headers = [
                ("Host", named if default else f"{named}:{port}"),
                ("Accept", "image/*"),
                ("Accept-Encoding", "identity"),
                ("User-Agent", f"clipshelf/{__version__}"),
                ("Connection", "close"),
            ]
            connection = h11.Connection(h11.CLIENT)
            writer.write(connection.send(h11.Request(method="GET", target=target, headers=headers)) or b"")
            writer.write(connection.send(h11.EndOfMessage()) or b"")
            await writer.drain()
            return await self._read(connection, reader)
        finally:
            writer.close()

    async def _resolve(self, host: str, port: int) -> str:
        """The address to connect to; each address of the name is checked."""
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = [str(entry[4][0]) for entry in found]
        if not addresses or not all(map(self.allows, addresses)):
            raise _refused("a host with global addresses only, found another")
        return addresses[0]

    async def _read(self, connection: h11.Connection, reader: asyncio.StreamReader) -> bytes | _Redirect:
        parts: list[bytes] = []
        received = 0
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                connection.receive_data(await reader.read(_READ_SIZE))
            elif isinstance(event, h11.Response):
                location = dict(event.headers).get(b"location")
                if event.status_code in _REDIRECT_STATUSES and location is not None:
                    return _Redirect(location.decode("latin-1"))
                if event.status_code != 200:
                    raise _refused(f"status 200, found {event.status_code}")
            elif isinstance(event, h11.Data):
                received += len(event.data)
                if received > self.limit:
                    raise _refused(f"a picture of at most {self.limit} bytes, found more")
                parts.append(bytes(event.data))
            elif isinstance(event, (h11.EndOfMessage, h11.ConnectionClosed)):
                return b"".join(parts)


@dataclass(frozen=True)
class _Redirect:
    target: str


def _refused(expected: str) -> ProblemError:
    return ProblemError(422, "bad-picture", f"image: expected {expected}")
