"""Recommenders and the values around them travel: a copy answers with the same products and scores."""

from __future__ import annotations

import multiprocessing
import pickle
import shutil
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clipshelf import Catalogue, Engine, Failure, Interaction, Profile, Query, Recommendations, Recommender, Weights
from clipshelf.errors import ArtifactError
from support import tiny
from support.copies import WAYS
from support.sample_query import NOW, SIGNALS

OPTIONS: dict[str, Any] = {"weights": {"liked": 2.0, "text_image": 0.1}, "half_life": 3.0, "gap_correction": False}


@pytest.fixture
def saved(engine: Engine, tmp_path: Path) -> Catalogue:
    """A catalogue of 40 products, as it is loaded from disk."""
    words = tiny.WORDS[4:]
    products = [{"id": str(i), "text": f"{words[i % 7]} {words[i % 5]}", "price": i} for i in range(40)]
    Catalogue.build(engine, products).save(tmp_path / "catalogue")
    return Catalogue.load(tmp_path / "catalogue")


def assert_same(answer: Recommendations, other: Recommendations) -> None:
    assert len(answer) == 10
    assert [(item.id, item.score) for item in answer] == [(item.id, item.score) for item in other]
    assert [item.to_dict(explain=True) for item in answer] == [item.to_dict(explain=True) for item in other]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("options", [{}, OPTIONS])
def test_a_copy_answers_the_same(
    recommender: Recommender, saved: Catalogue, engine: Engine, options: dict[str, Any], way: type
) -> None:
    plain = recommender.recommend(**SIGNALS)
    for original in (
        Recommender(recommender.engine, recommender.catalogue, **options),  # in memory
        Recommender(engine, saved, **options),
        Recommender(engine, saved.remove(["0"]), **options),  # changed since it was loaded
    ):
        copied: Recommender = way(original)
        assert copied is not original
        assert (copied.weights, copied.half_life) == (original.weights, original.half_life)
        assert copied.gap_correction == original.gap_correction
        answer = original.recommend(**SIGNALS)
        assert_same(copied.recommend(**SIGNALS), answer)
        assert_same(way(answer), answer)
        if original.catalogue is recommender.catalogue:
            assert bool(options) == (answer[0].score != plain[0].score)


def test_a_recommender_travels_as_two_folders(engine: Engine, saved: Catalogue) -> None:
    original = Recommender(engine, saved)
    original.recommend(**SIGNALS)
    assert len(pickle.dumps(original)) < 5000


def test_an_artifact_that_changed_meanwhile_is_refused(tmp_path: Path) -> None:
    folder = tiny.write_artifact(tmp_path / "artifact")
    engine = Engine.load(folder, threads=1)
    pickled = pickle.dumps(Recommender(engine, Catalogue.build(engine, [{"text": "red"}])))
    shutil.rmtree(folder)
    other = Engine.load(tiny.write_artifact(folder, seed=1))
    with pytest.raises(ArtifactError, match=f"fingerprint {engine.fingerprint}, found one with {other.fingerprint}"):
        pickle.loads(pickled)


def answer(recommender: Recommender, query: Query) -> Recommendations:
    """What a worker does with a recommender."""
    return recommender.answer(query)


def test_spawned_workers_answer_the_same(engine: Engine, saved: Catalogue) -> None:
    recommenders, query = [Recommender(engine, saved), Recommender(engine, saved, **OPTIONS)], Query(**SIGNALS)
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        answers = list(pool.map(answer, recommenders, [query] * 2))
    for recommender, remote in zip(recommenders, answers, strict=True):
        assert_same(remote, recommender.answer(query))


@pytest.mark.parametrize("way", WAYS)
def test_queries_and_their_parts_survive(way: type) -> None:
    profile = Profile(texts=["warm"], liked={"3": 2.0}, disliked=["4"], history=[("5", "rated", NOW, 4)])
    signals = {name: SIGNALS[name] for name in ("text", "liked", "history")}
    query = Query(**signals, profile=profile, weights={"text": 2}, where={"price": {"<": 3}}, exclude=["7"], k=3)
    weights = Weights(text=0.5)
    assert weights.cosines.shape == (2, 2)  # computed once, and kept in the value
    for value in (
        query,
        profile,
        weights,
        Interaction("5", "viewed", NOW),
        Failure(1, "red.png", "expected a picture"),
    ):
        assert way(value) == value
    copied: Query = way(query)
    assert (copied.texts, copied.taste, copied.named_ids) == (query.texts, query.taste, query.named_ids)
    np.testing.assert_array_equal(way(weights).cosines, weights.cosines)
    with pytest.raises(TypeError, match="does not support item assignment"):
        way(profile).liked["8"] = 1.0
