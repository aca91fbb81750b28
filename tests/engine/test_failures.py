"""The error policy: the functions of `clipshelf.failures`, and everything that takes `on_error`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from clipshelf import Catalogue, Engine, Failure, OnError, Recommender, index
from clipshelf.errors import ImageError, InputError, UnknownIdError
from clipshelf.failures import attempt, check_on_error, handle
from clipshelf.types import Product
from support import tiny

Call = Callable[[Any], object]

GOOD: list[Product] = [{"id": "a", "text": "red"}, {"id": "b", "text": "blue"}]
BAD: list[Product] = [*GOOD, {"id": "c", "text": 3}]


def test_handle_raises_or_reports() -> None:
    error, failures = InputError("expected a text"), list[Failure]()
    with pytest.raises(InputError) as raised:
        handle("raise", 3, "p", error)
    assert raised.value is error
    handle(failures.append, 3, "p", error)
    assert failures == [Failure(3, "p", "expected a text")]


def test_attempt_catches_errors_of_the_input_only() -> None:
    error = UnknownIdError("expected a known id")
    assert attempt(lambda: 5) == 5

    def fail(kind: Exception) -> object:
        raise kind

    assert attempt(lambda: fail(error)) is error
    with pytest.raises(ZeroDivisionError):
        attempt(lambda: fail(ZeroDivisionError()))


def test_raise_and_callables_are_policies() -> None:
    policies: list[OnError] = ["raise", list[Failure]().append, print, lambda _: None]
    for policy in policies:
        check_on_error(policy)


@pytest.fixture
def calls(engine: Engine, tmp_path: Path) -> dict[str, tuple[Call, Call]]:
    """Everything that takes an error policy: a call without and one with a bad item, which is the third."""
    catalogue = Catalogue.build(engine, [{"id": "z", "text": "green"}])
    old = Catalogue.build(engine, [{"id": id_, "text": "green"} for id_ in "abc"])
    recommender = Recommender(engine, catalogue)
    red, words = tiny.picture("red"), ["red", "blue"]
    no_text: list[Any] = [*words, None]
    queries: list[Any] = [{"text": "red"}, {"text": "blue"}]
    return {
        "embed_texts": (
            lambda policy: engine.embed_texts(words, on_error=policy),
            lambda policy: engine.embed_texts(no_text, on_error=policy),
        ),
        "embed_images": (
            lambda policy: engine.embed_images([red, red], on_error=policy),
            lambda policy: engine.embed_images([red, red, b"broken"], on_error=policy),
        ),
        "build": (
            lambda policy: Catalogue.build(engine, GOOD, on_error=policy),
            lambda policy: Catalogue.build(engine, BAD, on_error=policy),
        ),
        "add": (
            lambda policy: catalogue.add(engine, GOOD, on_error=policy),
            lambda policy: catalogue.add(engine, BAD, on_error=policy),
        ),
        "update": (
            lambda policy: old.update(engine, GOOD, on_error=policy),
            lambda policy: old.update(engine, BAD, on_error=policy),
        ),
        "index": (
            lambda policy: index(engine, GOOD, tmp_path / "good", on_error=policy),
            lambda policy: index(engine, BAD, tmp_path / "bad", on_error=policy),
        ),
        "recommend_batch, resolving": (
            lambda policy: recommender.recommend_batch(queries, on_error=policy),
            lambda policy: recommender.recommend_batch([*queries, {"liked": ["nobody"]}], on_error=policy),
        ),
        "recommend_batch, embedding": (
            lambda policy: recommender.recommend_batch([], on_error=policy),
            lambda policy: recommender.recommend_batch([*queries, {"image": b"broken"}], on_error=policy),
        ),
        "recommend_batch, fusing": (
            lambda policy: recommender.recommend_batch(iter(queries), on_error=policy),
            lambda policy: recommender.recommend_batch(
                [*queries, {"text": "red", "weights": {"text": 0}}], on_error=policy
            ),
        ),
    }


NAMES = [
    *("embed_texts", "embed_images", "build", "add", "update", "index"),
    *(f"recommend_batch, {step}" for step in ("resolving", "embedding", "fusing")),
]


@pytest.mark.parametrize("name", NAMES)
def test_another_policy_is_refused_even_when_no_item_is_bad(
    calls: dict[str, tuple[Call, Call]], name: str, tmp_path: Path
) -> None:
    for call in calls[name]:
        for policy in ("skip", None, 5, "", ["raise"]):
            with pytest.raises(
                InputError, match="on_error: expected 'raise' or a callable that takes a Failure, found"
            ):
                call(policy)
    assert not (tmp_path / "good").exists() and not (tmp_path / "bad").exists()


@pytest.mark.parametrize("name", NAMES)
def test_a_bad_item_is_raised_or_reported_with_its_index_source_and_reason(
    calls: dict[str, tuple[Call, Call]], name: str
) -> None:
    good, bad = calls[name]
    failures: list[Failure] = []
    good(failures.append)
    assert failures == []
    good("raise")
    with pytest.raises(InputError) as raised:
        bad("raise")
    bad(failures.append)
    [failure] = failures
    assert failure.index == 2
    sources = {"embed_texts": "None", "embed_images": "6 bytes", "recommend_batch, embedding": "6 bytes"}
    assert failure.source == sources.get(name, "query" if name.startswith("recommend") else "c")
    assert failure.reason == str(raised.value)


@pytest.mark.parametrize("name", NAMES)
def test_an_error_of_the_callable_stops_the_call(calls: dict[str, tuple[Call, Call]], name: str) -> None:
    error = ZeroDivisionError("enough")

    def fail(failure: Failure) -> None:
        raise error

    with pytest.raises(ZeroDivisionError) as raised:
        calls[name][1](fail)
    assert raised.value is error


def test_every_failed_picture_of_a_catalogue_is_reported(engine: Engine, tmp_path: Path) -> None:
    failures: list[Failure] = []
    products: list[Product] = [{"id": "a", "image": tmp_path / "gone.png"}, {"text": " "}, {"id": "c", "text": "red"}]
    catalogue = Catalogue.build(engine, products, on_error=failures.append)
    assert catalogue.ids == ["c"]
    by_index = {failure.index: failure for failure in failures}
    assert (by_index[0].source, by_index[1].source) == ("a", "1")
    assert "gone.png: expected a picture" in by_index[0].reason
    assert "product 1: expected a text, an image or both" in by_index[1].reason
    with pytest.raises(ImageError, match=r"gone\.png"):
        engine.embed_images([tmp_path / "gone.png"])
