from __future__ import annotations

import gc
import json
import pickle
import weakref
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from clipshelf import Catalogue, Contribution, Engine, Recommendations, Recommender
from clipshelf.recommend.answers import Contributions
from support import tiny
from support.sample_query import COUNT, SIGNALS
from support.shelves import clustered, made_up, shelf


def test_the_table_cuts_long_texts_and_knows_no_minus_zero() -> None:
    items = (
        made_up({"id": "i" * 40, "text": "two\nlines " + "x" * 200}, -0.0001, 0.5),
        made_up({"id": "short"}, -0.5, 0.0),
        made_up({"id": "just", "text": "y" * 100}, 12.5, 1.0),
    )
    first, second, third, took = str(Recommendations(items, {"total": 1.25})).splitlines()
    assert first == f"  1   0.000   50%  {'i' * 40}  two lines {'x' * 89}…"
    assert third == f"  3  12.500  100%  {'just':32}  {'y' * 100}"
    assert second == "  2  -0.500    0%  short" and took == "     1.2 ms"


def test_the_json_object_is_stable(engine: Engine, colours: Catalogue) -> None:
    answer = Recommender(engine, colours).recommend(text="red", k=1)
    data = json.loads(json.dumps(answer.to_dict()))
    assert list(data) == ["recommendations", "took_ms"]
    assert list(data["recommendations"][0]) == ["id", "score", "relevance", "product"]
    assert data["recommendations"][0]["product"] == {"id": "red", "text": "red", "price": 0}
    explained = json.loads(json.dumps(answer.to_dict(explain=True)))["recommendations"][0]["contributions"]
    assert [list(part) for part in explained] == [["signal", "id", "side", "value"]] * 2


@pytest.mark.parametrize("loaded", [False, True])
def test_an_answer_explains_itself_without_its_catalogue(wide_engine: Engine, tmp_path: Path, loaded: bool) -> None:
    catalogue = shelf(wide_engine, clustered(COUNT, wide_engine.dim))
    if loaded:
        catalogue.save(tmp_path / "catalogue")
        catalogue = Catalogue.load(tmp_path / "catalogue")
    recommender = Recommender(wide_engine, catalogue)
    answer = recommender.recommend(**SIGNALS, diversity=0.2)
    batch = recommender.recommend_batch([{"liked": [str(i % COUNT)]} for i in range(300)])
    before = [json.dumps(each.to_dict(explain=True)) for each in (answer, *batch)]
    objects = weakref.ref(catalogue), weakref.ref(recommender), weakref.ref(catalogue.embeddings)
    del catalogue, recommender
    gc.collect()
    assert [reference() for reference in objects] == [None] * 3
    assert [json.dumps(each.to_dict(explain=True)) for each in (answer, *batch)] == before
    for item in answer:
        assert sum(part.value for part in item.contributions) == pytest.approx(item.score, abs=1e-9)


def test_a_pickled_answer_is_small(default_engine: Engine) -> None:
    rows = np.random.default_rng(0).standard_normal((2000, 2, default_engine.dim)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=2, keepdims=True)
    recommender = Recommender(default_engine, shelf(default_engine, rows.reshape(2000, -1)))
    liked = [str(row) for row in range(20)]
    answer = recommender.recommend("red shoe", tiny.picture("blue"), liked, diversity=0.2)
    pickled = pickle.dumps(answer)
    assert len(answer) == 10 and len(pickled) < 20_000
    assert pickle.loads(pickled).to_dict(explain=True) == answer.to_dict(explain=True)


def test_every_answer_of_a_batch_owns_its_timings(recommender: Recommender) -> None:
    first, second, empty = recommender.recommend_batch(
        [{"text": "red"}, {"text": "blue"}, {"text": " "}], on_error=lambda _: None
    )
    took_ms, stages = dict(second.took_ms), dict(second.stages)
    assert took_ms == first.took_ms == empty.took_ms and stages == first.stages == empty.stages
    first.took_ms["total"] = -1.0
    first.took_ms.pop("rank")
    first.stages.clear()  # type: ignore[attr-defined]
    assert second.took_ms == empty.took_ms == took_ms
    assert second.stages == empty.stages == stages


def test_the_stages_of_a_query_lie_in_its_total_time(recommender: Recommender) -> None:
    answer = recommender.recommend("red shoe", tiny.picture("blue"))
    stages, total = answer.stages, answer.took_ms["total"]
    names = {"tokenise", "text", "decode", "preprocess", "vision", "fuse", "search"}
    assert set(stages) - set(answer.took_ms) == names
    assert all(0 <= start <= end <= total for start, end in stages.values())
    for order in (("tokenise", "text", "fuse", "search"), ("decode", "preprocess", "vision", "fuse")):
        for before, after in pairwise(order):
            assert stages[before][1] <= stages[after][0]
    for lap in ("embed_text", "embed_image", "rank"):
        assert answer.took_ms[lap] == pytest.approx(stages[lap][1] - stages[lap][0], abs=1e-3)


def test_contributions_are_a_sequence_of_plain_values() -> None:
    values = np.array([[0.5, 0.25], [-0.125, 0.0]])
    parts = Contributions([("text", None), ("liked", "p")], values, sides=(0, 1), penalty=0.0625)
    expected = (
        Contribution("text", None, "image", 0.5),
        Contribution("text", None, "text", 0.25),
        Contribution("liked", "p", "image", -0.125),
        Contribution("liked", "p", "text", 0.0),
        Contribution("diversity", None, None, -0.0625),
    )
    assert tuple(parts) == expected and len(parts) == 5
    assert parts == expected and parts == list(expected) and parts != expected[:4] and parts != 5
    assert parts[0] == expected[0] and parts[-1] == expected[-1] and parts[1:3] == expected[1:3]
    assert hash(parts) == hash(expected) and repr(parts) == repr(expected)
    assert str(parts[2]) == "liked p / image" and str(parts[4]) == "diversity"
    one_sided = Contributions([("text", None)], values[:1], sides=(1,))
    assert list(one_sided) == [Contribution("text", None, "text", 0.25)] and len(one_sided) == 1
