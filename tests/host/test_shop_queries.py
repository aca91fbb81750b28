"""What a shop asks beyond similarity, through the JSON of the C interface: answers are those of Python."""

from __future__ import annotations

import ctypes
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from building import needs_compiler
from clipshelf import Catalogue, Engine, ProductFields, Query, Recommender

pytestmark = needs_compiler

PRODUCTS = [
    {
        "id": f"{colour}-{thing}",
        "text": f"a {colour} {thing}",
        "sku": f"DM-19{row}{column}",
        "family": thing,
        "price": 10.0 * row + column,
        "added": f"2026-11-{1 + 3 * row + column:02}",
    }
    for row, colour in enumerate(("red", "green", "blue"))
    for column, thing in enumerate(("shoe", "shirt", "watch"))
]
QUERIES: dict[str, dict[str, Any]] = {
    "boost": {"text": "red shoe", "boost": {"price": -2.0}, "k": 9},
    "fresh": {"text": "red shoe", "fresh": {"added": "5d"}, "now": "2026-11-09", "k": 9},
    "groups": {"text": "red", "group_by": "family", "group_members": 2, "k": 3},
    "words": {"text": "dm 1921", "k": 3},
    "relative": {"liked": ["green-shirt"], "where": "price<it.price and family=it.family"},
    "relevance": {"text": "red shoe", "min_relevance": 0.4, "boost": {"price": 5.0}},
    "all": {
        "text": "red shoe DM-1900",
        "boost": {"price": -0.5},
        "fresh": {"added": 3},
        "now": "2026-11-09",
        "group_by": "family",
        "where": "price<25",
        "exclude": ["red-shoe"],
        "min_relevance": 0.01,
        "unknown": "ignore",
    },
}


class Options(ctypes.Structure):
    _fields_ = (
        ("size", ctypes.c_size_t),
        ("texts", ctypes.c_char_p * 4),
        ("threads", ctypes.c_size_t),
        ("warm", ctypes.c_size_t),
        ("limits", ctypes.c_char_p),
    )


class CQuery(ctypes.Structure):
    _fields_ = (
        ("size", ctypes.c_size_t),
        ("text", ctypes.c_char_p),
        ("image", ctypes.c_void_p),
        ("liked", ctypes.c_void_p),
        ("liked_count", ctypes.c_size_t),
        ("disliked", ctypes.c_void_p),
        ("disliked_count", ctypes.c_size_t),
        ("where", ctypes.c_char_p),
        ("k", ctypes.c_size_t),
        ("json", ctypes.c_char_p),
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the shop's catalogue is."""
    return tmp_path_factory.mktemp("shop") / "catalogue"


@pytest.fixture(scope="module")
def recommender(tiny_artifact: Path, folder: Path) -> Recommender:
    engine = Engine.load(tiny_artifact, threads=1)
    Catalogue.build(engine, PRODUCTS, fields=ProductFields(words=["text", "sku"])).save(folder)
    return Recommender(engine, Catalogue.load(folder))


@pytest.fixture(scope="module")
def catalogue(
    prefix: Path, tiny_artifact: Path, folder: Path, recommender: Recommender
) -> Iterator[tuple[Any, ctypes.c_void_p]]:
    """The library, and the shop's catalogue as it has opened it."""
    library = ctypes.CDLL(str(prefix / "lib/libclipshelf.so"))
    engine, handle = ctypes.c_void_p(), ctypes.c_void_p()
    texts = (ctypes.c_char_p * 4)(None, os.fsencode(tiny_artifact), None, None)
    options = Options(ctypes.sizeof(Options), texts, 1, 0, None)
    assert library.clipshelf_engine_open(ctypes.byref(options), ctypes.byref(engine)) == 0
    assert library.clipshelf_catalogue_open(engine, os.fsencode(folder), ctypes.byref(handle)) == 0
    yield library, handle
    library.clipshelf_catalogue_close(handle)
    library.clipshelf_engine_close(engine)


@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES)
def test_the_json_of_a_query_is_answered_as_in_python(
    catalogue: tuple[Any, ctypes.c_void_p], recommender: Recommender, query: dict[str, Any]
) -> None:
    library, handle = catalogue
    result, text = ctypes.c_void_p(), ctypes.c_char_p()
    given = json.dumps({**query, "explain": True}).encode()
    asked = CQuery(ctypes.sizeof(CQuery), None, None, None, 0, None, 0, None, 0, given)
    assert library.clipshelf_recommend(handle, ctypes.byref(asked), ctypes.byref(result)) == 0
    assert library.clipshelf_result_json(result, ctypes.byref(text)) == 0
    found = json.loads(text.value or b"")
    library.clipshelf_result_close(result)
    expected = json.loads(json.dumps(recommender.answer(Query.from_dict(query)).to_dict(explain=True)))
    assert expected["recommendations"] and found["recommendations"] == expected["recommendations"]


def test_the_queries_say_what_they_should(recommender: Recommender) -> None:
    """So that two equal answers are not two wrong ones."""
    answers = {name: recommender.answer(Query.from_dict(query)) for name, query in QUERIES.items()}
    assert "boost price" in {part.signal for part in answers["boost"][0].contributions}
    assert "fresh added" in {part.signal for part in answers["fresh"][0].contributions}
    assert sorted(str(card.group.value) for card in answers["groups"] if card.group) == ["shirt", "shoe", "watch"]
    assert answers["words"][0].id == "blue-shirt"
    assert [item.id for item in answers["relative"]] == ["red-shirt"]
    assert all(item.relevance >= 0.4 for item in answers["relevance"])
    assert {"words", "boost price", "fresh added"} <= {part.signal for part in answers["all"][0].contributions}
