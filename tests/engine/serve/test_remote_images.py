"""Pictures by URL: only from named hosts, at global addresses, to the address that was checked."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from clipshelf.errors import InputError
from clipshelf.serve.image_hosts import ImageHost
from clipshelf.serve.problems import ProblemError
from clipshelf.serve.remote_images import RemoteImages, is_global
from clipshelf.serve.settings import Settings
from support.service import Serve, photo


class PictureHandler(BaseHTTPRequestHandler):
    """A host of pictures that also misbehaves."""

    def do_GET(self) -> None:
        name, _, argument = self.path[1:].partition("?")
        getattr(self, name)(argument)

    def picture(self, _: str) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(photo("blue"))

    def redirect(self, target: str) -> None:
        self.send_response(302)
        self.send_header("Location", target)
        self.end_headers()

    def endless(self, _: str) -> None:
        self.send_response(200)
        self.end_headers()
        try:
            while True:
                self.wfile.write(bytes(1 << 16))
        except OSError:
            pass

    def slow(self, _: str) -> None:
        try:
            while True:
                self.wfile.write(b"H")
                time.sleep(0.05)
        except OSError:
            pass

    def absent(self, _: str) -> None:
        self.send_error(404)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def host() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), PictureHandler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://localhost:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def named(host: str) -> ImageHost:
    """The host of an address such as http://localhost:8000, with its port."""
    return ImageHost.parse(host.removeprefix("http://"))


def fetch(host: str, target: str, allows: Callable[[str], bool] = lambda _: True, **options: Any) -> bytes:
    """Fetch a URL, in which {host} stands for the host of pictures, which is named."""
    hosts = (named(host), ImageHost("localhost", 1), ImageHost(".shop.example"))
    images = RemoteImages(hosts, 100_000, allows=allows, **options)
    return asyncio.run(images.fetch(target.replace("{host}", host)))


def test_a_picture_comes_from_a_named_host(host: str) -> None:
    assert fetch(host, "{host}/picture") == photo("blue")
    assert fetch(host, "{host}/redirect?{host}/picture") == photo("blue")
    assert fetch(host, "{host}/redirect?/picture") == photo("blue")


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("{host}/redirect?http://other.example/picture", "a host of --image-hosts"),
        ("{host}/redirect?file:///etc/passwd", "an http or https URL"),
        ("{host}/redirect?{host}/redirect?{host}/redirect?{host}/redirect?{host}/picture", "at most 3 redirects"),
        ("{host}/endless", "at most 100000 bytes"),
        ("{host}/absent", "status 200, found 404"),
        ("http://other.example/", "a host of --image-hosts"),
        ("http://shop.example.evil.example/", "a host of --image-hosts"),
        ("http://notshop.example/", "a host of --image-hosts"),
        ("http://localhost:2/picture", "a host of --image-hosts"),
        ("http://localhost/picture", "a host of --image-hosts"),
        ("{host}/redirect?http://localhost:2/picture", "a host of --image-hosts"),
        ("http://www.shop.example:8080/", "a host of --image-hosts"),
        ("http://www.shop.example:443/", "a host of --image-hosts"),
        ("http://user@localhost/", "without a user"),
        ("http://localhost@evil.example/", "without a user"),
        ("ftp://localhost/", "an http or https URL"),
        ("http://localhost:1/picture", "a host that answers"),
        ("http://[::1/", "well-formed"),
        ("http://localhost:99999999/", "well-formed"),
        ("http://localhost/ HTTP/1.1\r\nX: y", "found"),
        ("{host}/picture?ü", "a URL in ASCII"),
        ("http://" + "a" * 64 + ".shop.example/", "a URL in ASCII"),
    ],
)
def test_what_is_refused(host: str, target: str, message: str) -> None:
    with pytest.raises(ProblemError, match=message):
        fetch(host, target)


@pytest.mark.parametrize(
    ("text", "scheme", "host", "port", "included"),
    [
        ("shop.example", "http", "shop.example", 80, True),
        ("shop.example", "https", "shop.example", 443, True),
        ("Shop.Example.", "https", "shop.example", 443, True),
        ("shop.example", "https", "shop.example", 80, False),
        ("shop.example", "http", "www.shop.example", 80, False),
        ("shop.example:8080", "https", "shop.example", 8080, True),
        ("shop.example:8080", "https", "shop.example", 443, False),
        (".shop.example:8080", "http", "www.shop.example", 8080, True),
        ("[2606:2800::1]:8080", "http", "2606:2800::1", 8080, True),
        ("2606-2800.example", "http", "2606", 80, False),
    ],
)
def test_a_host_includes_its_ports_alone(text: str, scheme: str, host: str, port: int, included: bool) -> None:
    assert ImageHost.parse(text).includes(scheme, host, port) is included


@pytest.mark.parametrize(
    "text",
    ["", ".", "shop.example:", "shop.example:0", "shop.example:70000", "shop.example:x", "http://shop.example",
     "shop.example/pictures", "user@shop.example", "shop.example?", "shöp.example", "2606:2800::1", "[2606", "a b"],
)  # fmt: skip
def test_what_is_no_host_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="expected HOST or HOST:PORT"):
        ImageHost.parse(text)


def test_a_slow_host_is_given_up(host: str) -> None:
    start = time.monotonic()
    with pytest.raises(ProblemError, match=r"within 0.3 seconds"):
        fetch(host, "{host}/slow", seconds=0.3)
    assert time.monotonic() - start < 5


def test_a_name_that_leads_to_the_own_network_is_refused(host: str) -> None:
    with pytest.raises(ProblemError, match="global addresses only"):
        fetch(host, "{host}/picture", is_global)


def test_the_connection_goes_to_the_address_that_was_checked(host: str) -> None:
    """A second look-up of the name, which a hostile name server would answer otherwise, does not happen."""
    checked: list[str] = []

    async def run() -> None:
        loop = asyncio.get_running_loop()
        resolve, count = loop.getaddrinfo, 0

        async def once(name: Any, port: Any, **options: Any) -> Any:
            nonlocal count
            if name == "localhost":
                count += 1
                assert count == 1
            return await resolve("127.0.0.1", port, **options)

        loop.getaddrinfo = once  # type: ignore[method-assign, assignment]
        images = RemoteImages((named(host),), 100_000, allows=lambda address: not checked.append(address))  # type: ignore[func-returns-value]
        assert await images.fetch(f"{host}/picture") == photo("blue")

    asyncio.run(run())
    assert checked == ["127.0.0.1"]


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
     "255.255.255.255", "::1", "::", "fe80::1%eth0", "fc00::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1",
     "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b:1::7f00:1", "2002:7f00:1::"],
)  # fmt: skip
def test_addresses_of_the_own_network_are_not_global(address: str) -> None:
    assert not is_global(address)


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946"])
def test_other_addresses_are_global(address: str) -> None:
    assert is_global(address)


def test_the_service_fetches_nothing_unless_asked(serve: Serve, host: str) -> None:
    closed, opened = serve(Settings()), serve(Settings(image_hosts=(named(host),)))
    refused = closed.client.post("/v1/recommend", json={"image": f"{host}/picture"})
    assert refused.status_code == 422 and "--image-hosts" in refused.json()["detail"]
    loopback = opened.client.post("/v1/recommend", json={"image": f"{host}/picture"})
    assert loopback.status_code == 422 and "global addresses only" in loopback.json()["detail"]
