"""Who may come in: keys, hosts, origins."""

from __future__ import annotations

from pathlib import Path

import pytest
from clipshelf import InputError
from clipshelf.serve.auth import KeyRing
from clipshelf.serve.settings import Settings
from support.service import RunningService, Serve

READER, WRITER, SLOW = "reader-0123456789", "writer-0123456789", "slow-0123456789ab"


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    path = tmp_path / "keys"
    path.write_text(f"# who may come in\n\nshop {READER}\nowner\t{WRITER} write\nslow {SLOW} rate=0.5\n")
    return path


@pytest.fixture
def guarded(serve: Serve, keys: Path) -> RunningService:
    return serve(Settings(keys=keys, writable=True))


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


KEYED = ("/v1/catalogue", "/v1/models", "/v1/products/red-shoe/image", "/metrics", "/nothing")
PUBLIC = ("/", "/docs", "/openapi.json", "/static/docs.css", "/health/live", "/v2/health/ready")


@pytest.mark.parametrize("path", KEYED)
def test_a_key_is_needed(guarded: RunningService, path: str) -> None:
    for headers in (
        {},
        bearer("wrong-0123456789"),
        bearer(READER[:-1]),
        bearer(f"{READER}x"),
        {"Authorization": READER},
    ):
        response = guarded.client.get(path, headers=headers)
        assert response.status_code == 401 and response.headers["www-authenticate"] == "Bearer"
        assert READER not in response.text
    assert guarded.client.get(path, headers=bearer(READER)).status_code == (404 if path == "/nothing" else 200)


@pytest.mark.parametrize(
    "path", ["/", "/docs", "/openapi.json", "/static/docs.css", "/health/live", "/v2/health/ready"]
)
def test_what_shows_no_product_needs_none(guarded: RunningService, path: str) -> None:
    assert guarded.client.get(path).status_code == 200


def test_a_key_writes_only_where_its_line_says_so(guarded: RunningService) -> None:
    products = {"products": [{"id": "lamp", "text": "a red lamp"}]}
    refused = guarded.client.put("/v1/products", json=products, headers=bearer(READER))
    assert refused.status_code == 403 and refused.json()["type"] == "/problems/not-allowed"
    assert guarded.client.put("/v1/products", json=products, headers=bearer(WRITER)).status_code == 200


def test_each_key_has_a_rate_of_its_own(guarded: RunningService) -> None:
    statuses = [guarded.client.get("/v1/models", headers=bearer(SLOW)).status_code for _ in range(3)]
    assert statuses == [200, 429, 429]
    assert guarded.client.get("/v1/models", headers=bearer(READER)).status_code == 200


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected lines of NAME KEY, found none"),
        ("shop short", "line 1: expected NAME and a KEY of 16 characters"),
        (f"shop {READER}ü", "line 1: expected NAME and a KEY of 16 characters of ASCII"),
        (f"\nshop {READER} admin", "line 2: expected write or rate=N"),
        (f"shop {READER} rate=-1", "expected write or rate=N"),
        (f"shop {READER}\nshop {WRITER}", "each name and each key once"),
        (f"a {READER}\nb {READER}", "each name and each key once"),
    ],
)
def test_a_bad_file_of_keys_is_an_error_that_shows_no_key(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "keys"
    path.write_text(text)
    with pytest.raises(InputError, match=message) as raised:
        KeyRing.load(path)
    assert READER not in str(raised.value)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "shop.example"])
def test_keys_are_required_where_others_reach_the_service(host: str) -> None:
    with pytest.raises(InputError, match="--keys FILE"):
        Settings(host=host)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "localhost"])
def test_the_loopback_needs_no_keys(host: str) -> None:
    assert Settings(host=host).keys is None


def test_a_page_that_rebinds_its_name_to_the_loopback_reaches_nothing(running: RunningService) -> None:
    for host in ("evil.example", "evil.example:8000", "", "127.0.0.1.evil.example"):
        response = running.client.get("/v1/catalogue", headers={"Host": host})
        assert response.status_code in (400, 421), host
    for host in ("localhost:1", "127.0.0.1", "[::1]:8000"):
        assert running.client.get("/v1/catalogue", headers={"Host": host}).status_code == 200


def test_other_origins_are_let_in_only_when_asked(running: RunningService, serve: Serve) -> None:
    headers = {"Origin": "https://shop.example", "Access-Control-Request-Method": "POST"}
    assert "access-control-allow-origin" not in running.client.options("/v1/recommend", headers=headers).headers
    service = serve(Settings(cors=("https://shop.example",), body_limit=100))
    preflight = service.client.options("/v1/recommend", headers=headers)
    assert preflight.headers["access-control-allow-origin"] == "https://shop.example"
    # a page can read why it was refused, too
    refused = service.client.post("/v1/recommend", json={"text": "x" * 200}, headers=headers)
    assert refused.status_code == 413
    assert refused.headers["access-control-allow-origin"] == "https://shop.example"
    other = service.client.get("/v1/catalogue", headers={"Origin": "https://evil.example"})
    assert "access-control-allow-origin" not in other.headers
