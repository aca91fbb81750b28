"""Contributions of products with several pictures and texts, taken apart, against brute force in float64."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from clipshelf import Catalogue, Engine, Recommender
from clipshelf.catalogue.contents import MemoryContents, contents_of_rows
from clipshelf.catalogue.side_parts import PooledSide, SideParts, pool_side
from clipshelf.scale.recommender import ShardedRecommender
from clipshelf.scale.writing import split
from clipshelf.types import FloatArray, Product
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

Parts = dict[tuple[int, int], FloatArray]


def made_up(engine: Engine, counts: list[tuple[int, int]], falloff: float, seed: int) -> tuple[Catalogue, Parts]:
    """A catalogue of products with these numbers of pictures and texts, and the embeddings of these."""
    rng = np.random.default_rng(seed)
    parts: Parts = {}
    pooled: dict[tuple[int, int], PooledSide] = {}
    matrix = np.zeros((len(counts), 2, engine.dim), np.float32)
    products: list[Product] = []
    for row, of_sides in enumerate(counts):
        for side, count in enumerate(of_sides):
            rows = rng.standard_normal((count, engine.dim)) + 0.5
            parts[row, side] = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
            if count > 1:
                pooled[row, side] = pool_side(parts[row, side], np.zeros((count, 16), np.uint8), falloff)
            matrix[row, side] = pooled[row, side].row if count > 1 else parts[row, side][0]
        pictures, texts = of_sides
        image = [f"{row}-{i}.png" for i in range(pictures)]
        text = [f"text {i}" for i in range(texts)]
        products.append({"id": str(row), "image": image if pictures > 1 else image[0], "text": text})
    flat = matrix.reshape(len(counts), -1)
    contents = MemoryContents(products, flat, contents_of_rows(flat).keys, parts=SideParts.of(falloff, pooled))
    return Catalogue(contents, engine.fingerprint, Path("/nowhere")), parts


# The engine does not change, so examples may share it.
SHARED = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
COUNTS = st.lists(st.tuples(st.integers(1, 5), st.integers(1, 3)), min_size=1, max_size=24)


@given(COUNTS, st.floats(0.1, 1), st.integers(0, 99), st.booleans())
@SHARED
def test_shares_sum_to_their_contribution_and_contributions_to_the_score(
    engine: Engine, counts: list[tuple[int, int]], falloff: float, seed: int, gap_correction: bool
) -> None:
    catalogue, _ = made_up(engine, counts, falloff, seed)
    recommender = Recommender(engine, catalogue, gap_correction=gap_correction)
    answer = recommender.recommend(text=["red shoe", "warm"], liked=["0"], exclude=[], k=len(counts))
    for item in answer:
        pictures, texts = counts[int(item.id)]
        expected = {"image": pictures if pictures > 1 else 0, "text": texts if texts > 1 else 0}
        assert sum(part.value for part in item.contributions) == pytest.approx(item.score, abs=1e-9)
        for contribution in item.contributions:
            assert len(contribution.parts) == expected[str(contribution.side)]
            if contribution.parts:
                assert sum(part.value for part in contribution.parts) == pytest.approx(contribution.value, abs=1e-12)


@given(COUNTS, st.floats(0.1, 1), st.integers(0, 99))
@SHARED
def test_shares_are_those_of_brute_force(
    engine: Engine, counts: list[tuple[int, int]], falloff: float, seed: int
) -> None:
    catalogue, parts = made_up(engine, counts, falloff, seed)
    query = engine.embed_texts(["red shoe"])[0].astype(np.float64)
    answer = Recommender(engine, catalogue, gap_correction=False).recommend(text="red shoe", k=len(counts))
    for item in answer:
        for contribution in item.contributions:
            side = ("image", "text").index(str(contribution.side))
            rows = parts[int(item.id), side].astype(np.float64)
            weights = np.array([falloff**i for i in range(len(rows))])
            cosines = rows @ query / np.linalg.norm(weights @ rows)
            factor = (0.5, 1.0)[side] / 1.5
            np.testing.assert_allclose(contribution.value, factor * weights @ cosines, atol=1e-6)
            shares = [part.value for part in contribution.parts]
            if shares:
                np.testing.assert_allclose(shares, factor * weights * cosines, atol=1e-6)
        pictures = parts[int(item.id), 0]
        best = int(np.argmax(pictures.astype(np.float64) @ query)) if len(pictures) > 1 else None
        assert item.picture == best


def test_answers_name_the_pictures_in_json_and_tables(engine: Engine) -> None:
    catalogue, _ = made_up(engine, [(3, 2), (1, 1)], 0.7, 0)
    answer = Recommender(engine, catalogue).recommend(text="red", k=2)
    items = json.loads(json.dumps(answer.to_dict(explain=True)))["recommendations"]
    several, single = sorted(items, key=lambda item: item["id"])
    assert several["picture"] in (0, 1, 2) and "picture" not in single
    by_side = {part["side"]: part for part in several["contributions"]}
    assert [part["path"] for part in by_side["image"]["parts"]] == ["0-0.png", "0-1.png", "0-2.png"]
    assert [(part["index"], part["path"]) for part in by_side["text"]["parts"]] == [(0, None), (1, None)]
    assert all("parts" not in part for part in single["contributions"])
    assert "image 2, 0-1.png" in answer.table(explain=True) and "text 2\n" in answer.table(explain=True)
    assert pickle.loads(pickle.dumps(answer)) == answer


def test_pictures_that_are_no_files_are_not_shown(engine: Engine) -> None:
    catalogue, parts = made_up(engine, [(3, 1)], 0.7, 1)
    order = np.argsort(-(parts[0, 0] @ engine.embed_texts(["red"])[0])).tolist()
    catalogue.products[0]["image"][order[0]] = None
    assert Recommender(engine, catalogue).recommend(text="red").items[0].picture == order[1]
    del catalogue.products[0]["image"][1:]  # as in a folder that somebody forged
    item = Recommender(engine, catalogue).recommend(text="red")[0]
    assert [part.path for part in item.contributions[0].parts][1:] == [None, None]


def test_shards_answer_alike(engine: Engine, tmp_path: Path) -> None:
    catalogue, _ = made_up(engine, [(1 + i % 3, 1 + i % 2) for i in range(20)], 0.7, 2)
    sharded = split(catalogue, tmp_path / "shards", 3)
    whole = Recommender(engine, catalogue).recommend(text="red", k=20)
    apart = ShardedRecommender(engine, sharded).recommend(text="red", k=20)
    assert [item.to_dict(explain=True) for item in apart] == [item.to_dict(explain=True) for item in whole]
