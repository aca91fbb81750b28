"""Queries of strangers: whatever they hold, they are answered in finite numbers or refused, each by itself."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pandas as pd
import pytest
from clipshelf import Catalogue, Engine, Failure, Profile, Query, Recommender, Weights
from clipshelf.display import json_text
from clipshelf.errors import InputError, UnknownIdError
from clipshelf.host import bridge
from clipshelf.recommend.arguments import MAX_ITEMS, MAX_TEXT
from clipshelf.types import Product
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import tiny
from support.sample_query import COUNT, NOW
from support.shelves import clustered, shelf


def nested(depth: int) -> Any:
    value: Any = "3"
    for _ in range(depth):
        value = [value]
    return value


def deep_filter(depth: int) -> Any:
    where: Any = {"price": 1}
    for _ in range(depth):
        where = {"not": where}
    return where


HOSTILE: list[dict[str, Any]] = [
    {"liked": ["\ud83d"]},
    {"text": "red", "exclude": ["\ud83d"]},
    {"text": "shoe \ud83d"},
    {"text": nested(100_000)},
    {"liked": nested(100_000)},
    {"history": nested(100_000)},
    {"text": "red", "exclude": nested(100_000)},
    {"text": "red", "where": nested(100_000)},
    {"text": "red", "where": deep_filter(100_000)},
    {"text": "red", "where": "not " * 20_000 + "price=1"},
    {"text": "red", "where": "(" * 1_000_000},
    {"text": "red", "where": 10**5000},
    {"text": "red", "weights": {"text": 1e308, "text_text": 1e308}},
    {"text": "red", "weights": {"text": 5e-324}},
    {"liked": [("3", 1e308), ("3", 1e308)]},
    {"liked": {"3": 1e308, "4": 1e308}},
    {"liked": {"3": 5e-324}},
    {"liked": [("3", 10**5000)]},
    {"history": [("3", "bought", -9e9)], "now": NOW},
    {"history": [("3", "bought", float("nan"))]},
    {"history": [("3", "x" * 10**6, 0)]},
    {"text": "red", "k": -(10**5000)},
    {"text": "red", "k": float("nan")},
    {"text": "red", "diversity": float("nan")},
    {"text": "red", "weights": nested(100_000)},
    {"text": "red", "weights": {"\x1b" * 10**6: 1}},
    {"\x1b" * 10**6: 1},
    {"text": "x" * (MAX_TEXT + 1)},
    {"text": ["x"] * (MAX_ITEMS + 1)},
    {"image": [b""] * (MAX_ITEMS + 1)},
    {"image": 5},
    {"image": [None]},
    {"image": "a\0b"},
    {"image": "\ud83d"},
    {"image": nested(100_000)},
]


@pytest.fixture(scope="module")
def priced(wide_engine: Engine) -> Recommender:
    return Recommender(wide_engine, shelf(wide_engine, clustered(COUNT, wide_engine.dim)))


@pytest.mark.parametrize("query", HOSTILE, ids=lambda query: "-".join(name[:9] for name in query))
def test_a_bad_query_of_a_batch_loses_only_itself(priced: Recommender, query: dict[str, Any]) -> None:
    failures: list[Failure] = []
    queries: list[dict[str, Any]] = [{"text": "red"}, query, {"liked": ["3"]}]
    answers = priced.recommend_batch(queries, on_error=failures.append)
    assert [len(answer) for answer in answers] == [10, 0, 10]
    assert [failure.index for failure in failures] == [1]
    assert len(failures[0].reason) < 1000 and failures[0].reason.isprintable()
    with pytest.raises(InputError):
        priced.recommend_batch([query])


JSON = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.sampled_from(["3", "bought", "red", "id=3"])
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(), inner, max_size=3)),
    max_leaves=6,
)
PROFILE = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(["texts", "images", "liked", "disliked", "history"], st.lists(JSON, max_size=2))
)
QUERY = st.fixed_dictionaries(
    {"text": st.one_of(st.just("red"), JSON)},
    optional={
        **dict.fromkeys(["image", "liked", "disliked", "history", "k", "where", "exclude", "weights"], JSON),
        **dict.fromkeys(["diversity", "now", "unknown", "exclude_bought"], JSON),
        "history": st.lists(st.tuples(st.just("3"), st.just("bought"), JSON), max_size=2),
        "weights": st.dictionaries(st.sampled_from(["text", "text_text", "image"]), JSON),
        "profile": st.one_of(JSON, PROFILE),
    },
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(QUERY)
def test_any_json_is_answered_or_refused(priced: Recommender, query: dict[str, Any]) -> None:
    try:
        answer = priced.answer(Query.from_dict(query))
    except InputError as error:
        assert str(error).isprintable() and len(str(error)) < 2000
    else:
        json_text(answer.to_dict(explain=True))


def test_extreme_weights_and_strengths_still_sum_to_the_score(priced: Recommender) -> None:
    queries: list[dict[str, Any]] = [
        {"text": "red", "weights": {"text": 1e9, "text_text": 1e9, "text_image": 1e-9}, "liked": [("3", 1e-9)]},
        {"liked": [("3", 1e9), ("4", 1e-9)], "weights": {"liked": 1e-9}},
        {"history": [("3", "bought", NOW - 25 * 30 * 86400)], "now": NOW},
    ]
    for answer in priced.recommend_batch(queries):
        assert len({item.score for item in answer}) == 10
        for item in answer:
            assert np.isfinite(item.score) and 0 <= item.relevance <= 1
            assert sum(part.value for part in item.contributions) == pytest.approx(item.score, abs=1e-6)


def test_events_that_faded_long_ago_do_not_count(priced: Recommender) -> None:
    with pytest.raises(InputError, match="long faded"):
        priced.recommend(history=[("3", "bought", 0)], now=NOW)


def test_weights_have_a_range() -> None:
    assert Weights(text=0, image=1e-9, liked=1e9)
    for value in (1e-10, 1e10, 1e308, 10**300):
        with pytest.raises(
            InputError, match=r"text: expected a number from 0 on, found .*; weights are 0 or from 1e-09"
        ):
            Weights(text=value)


def test_embeddings_that_are_no_numbers_are_told(wide_engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    recommender = Recommender(wide_engine, shelf(wide_engine, clustered(COUNT, wide_engine.dim)))
    monkeypatch.setattr(
        Engine, "embed_texts", lambda self, texts, **_: np.full((len(texts), self.dim), np.nan, np.float32)
    )
    failures: list[Failure] = []
    answers = recommender.recommend_batch([{"text": "red"}, {"liked": ["4"]}], on_error=failures.append)
    assert "finite numbers" in failures[0].reason and [len(answer) for answer in answers] == [0, 10]


def test_the_work_of_an_answer_is_limited(wide_engine: Engine) -> None:
    count = 3000
    recommender = Recommender(wide_engine, shelf(wide_engine, clustered(count, wide_engine.dim)))
    assert len(recommender.recommend("red", k=10**9)) == count
    with pytest.raises(InputError, match=r"k: expected at most 2,000 for 1 signals and diversity 0\.5, found 3,000"):
        recommender.recommend("red", k=10**9, diversity=0.5)
    many = [(str(i % count), "viewed", NOW - i) for i in range(count)] * 2
    likes = [str(i) for i in range(count)]
    with pytest.raises(InputError, match=r"k: expected at most 2,796 for 6,000 signals"):
        recommender.recommend(history=many, disliked=likes, now=NOW, k=count, weights={"text": 0})


def test_json_names_no_file_of_the_machine(engine: Engine, colours: Catalogue, tmp_path: Path) -> None:
    from PIL import Image

    path = str(tmp_path / "red.png")
    Image.fromarray(tiny.picture("red")).save(path)
    recommender = Recommender(engine, colours)
    inside: list[Any] = [path, [path], "DATA/" + path, {"path": path}, ["data:,x", {"bytes": None, "path": path}]]
    for data in [*({"image": image} for image in inside), {"profile": {"images": [path]}}]:
        with pytest.raises(InputError, match=r"expected a picture as a data: URI, found .*; allow_paths=True"):
            Query.from_dict(data)
        with pytest.raises(InputError, match="allow_paths"):
            bridge.recommend(recommender, {}, json.dumps(data))
    for data in ({"image": path}, {"profile": {"images": [path]}}):
        assert recommender.answer(Query.from_dict(data, allow_paths=True))[0].id == "red"
    with pytest.raises(InputError, match="allow_paths"):
        Profile.from_dict({"images": [path]})
    profile = Profile.from_dict({"images": [path]}, allow_paths=True)
    profile.save(tmp_path / "person.json")
    assert Profile.load(tmp_path / "person.json") == profile
    with pytest.raises(InputError, match=r"person\.json: .*allow_paths"):
        Profile.load(tmp_path / "person.json", allow_paths=False)
    assert (
        bridge.recommend(recommender, {"image": ((tmp_path / "red.png").read_bytes(), 0, 0, 0, 0)}, None)[0][0]
        == b"red"
    )


@pytest.mark.parametrize("id_", [15970, "15970", np.int64(15970), np.str_("15970"), pd.Series([15970]).iloc[0]])
def test_an_id_of_any_type_is_the_same(engine: Engine, id_: Any) -> None:
    products: list[Product] = [{"id": 15970, "text": "red"}, {"id": "b", "text": "blue"}, {"id": "c", "text": "green"}]
    catalogue = Catalogue.build(engine, products)
    recommender = Recommender(engine, catalogue)
    assert catalogue.row(id_) == 0 and catalogue.find([id_]).tolist() == [0] and len(catalogue.remove([id_])) == 2
    assert {item.id for item in recommender.recommend(liked=[id_])} == {"b", "c"}
    assert recommender.recommend(liked=[(id_, 2.0)]) and recommender.recommend(disliked={id_: 2.0})
    assert "15970" not in {item.id for item in recommender.recommend("red", exclude=[id_])}
    assert recommender.recommend(history=[(id_, "bought", NOW)], now=NOW)


@pytest.mark.parametrize("make", [np.array, pd.Series, pd.Index, tuple, set, iter])
def test_ids_in_any_collection(priced: Recommender, make: Any) -> None:
    query = {"liked": make([3, 4]), "disliked": make([9]), "exclude": make([5, 6])}
    assert len(priced.recommend(**query)) == 10
    assert len(priced.recommend("red", liked=make([]), exclude=make([]))) == 10


@pytest.mark.parametrize("id_", [None, True, b"3", {"id": 3}, {3}])
def test_what_is_no_id_is_refused(priced: Recommender, id_: Any) -> None:
    for arguments in ({"exclude": [id_]}, {"liked": [(id_, 1.0)]}, {"history": [(id_, "bought", NOW)]}):
        with pytest.raises(InputError, match="expected a product id, found"):
            priced.recommend("red", **arguments)


def test_ids_that_the_catalogue_does_not_have(priced: Recommender) -> None:
    gone = UUID(int=7)
    answer = priced.recommend("red", exclude=["never", "5"])
    assert answer.unknown_ids == ("never",) and len(answer) == 10 and answer.to_dict()["unknown_ids"] == ["never"]
    with pytest.raises(
        UnknownIdError, match=r"found 'no', 'on'; unknown=\"ignore\" \(--unknown ignore\) leaves such ids out"
    ):
        priced.recommend(liked=["no", "3"], history=[("on", "viewed", NOW)], exclude=["never"])
    taste: dict[str, Any] = {"liked": ["no", "3"], "disliked": [gone], "history": [("on", "bought", NOW)]}
    ignoring = priced.recommend(**taste, unknown="ignore", exclude_bought=True)
    assert ignoring.unknown_ids == (str(gone), "no", "on")
    profiled = priced.recommend(profile=Profile(**taste))
    assert profiled.unknown_ids == ignoring.unknown_ids
    alone = priced.recommend(liked=["3"])
    for other in (ignoring, profiled):
        assert [(item.id, item.score) for item in other] == [(item.id, item.score) for item in alone]
    assert "unknown_ids" not in alone.to_dict() and alone.unknown_ids == ()
    for arguments in ({"profile": Profile(liked=["no"])}, {"liked": ["no"], "unknown": "ignore"}):
        with pytest.raises(InputError, match="found only products that the catalogue does not have: 'no'"):
            priced.recommend(**arguments)


def test_an_answer_without_products_says_why(engine: Engine, colours: Catalogue) -> None:
    recommender = Recommender(engine, colours)
    names = list(tiny.COLOURS)
    terms = "price<5 lets 1 through, price>15 lets 1 through"
    for arguments, note in (
        ({"where": "price<5 and price>15"}, f"no product passes the filter: of 3 products {terms}"),
        ({"where": {"price": {"<": 5, ">": 15}}}, f"no product passes the filter: of 3 products {terms}"),
        ({"exclude": names}, "no product is left: all 3 of the catalogue are excluded"),
        (
            {"exclude": names[:1], "where": "price<5"},
            "no product is left: the filter lets 1 of 3 through, and all of them are excluded",
        ),
    ):
        answer = recommender.recommend("red", **arguments)
        assert answer.note == note == answer.to_dict()["note"] and note in str(answer)
    full = recommender.recommend("red")
    assert full.note is None and "note" not in full.to_dict()
    empty = Recommender(engine, colours.remove(names)).recommend("red")
    assert empty.note == "no product is left: the catalogue is empty"
    failed = recommender.recommend_batch([{"liked": ["no"]}], on_error=lambda _: None)[0]
    assert failed.note is None and len(failed) == 0
    long = " or ".join(f"id='{i}\x1b'" for i in range(99))
    answer = recommender.recommend("red", where=f"({long}) and " + " and ".join(f"price>{i}" for i in range(20, 40)))
    assert answer.note is not None and "and there are 11 more terms" in answer.note and len(answer.note) < 700
    assert "\x1b" not in str(answer)


def test_recursion_is_never_deep(priced: Recommender) -> None:
    limit = sys.getrecursionlimit()
    try:
        sys.setrecursionlimit(400)
        where = "not " * 50 + "(" * 0 + "id=3"
        assert len(priced.recommend("red", where=where)) == 1
    finally:
        sys.setrecursionlimit(limit)
