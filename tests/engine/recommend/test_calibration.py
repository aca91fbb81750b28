from __future__ import annotations

import numpy as np
import pytest
from clipshelf import Engine, Recommender
from clipshelf.catalogue.statistics import Statistics, sample_rows
from clipshelf.recommend.calibration import Calibration
from clipshelf.recommend.catalogue_store import CatalogueStore
from clipshelf.recommend.fusion import QueryVector
from support.sample_query import DIM
from support.shelves import clustered, shelf


def test_one_sided_products_take_part_as_often_as_others(wide_engine: Engine) -> None:
    count = 3000
    matrix = clustered(count, DIM)
    half = np.random.default_rng(1).permutation(count)[: count // 2]
    matrix[half[::2], :DIM], matrix[half[1::2], DIM:] = 0, 0
    recommender = Recommender(wide_engine, shelf(wide_engine, matrix))
    answered = [item.id for row in range(60) for item in recommender.recommend(liked=[str(row)], k=20)]
    one_sided = {str(row) for row in half}
    share = np.mean([id_ in one_sided for id_ in answered])
    assert 0.3 < share < 0.7, share


def test_relevance_tells_what_fits_from_what_is_merely_best(wide_engine: Engine) -> None:
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((1000, 2, DIM)).astype(np.float32)
    noise /= np.linalg.norm(noise, axis=2, keepdims=True)
    matrix = noise.reshape(1000, 2 * DIM)
    recommender = Recommender(wide_engine, shelf(wide_engine, matrix))
    best = [recommender.recommend(liked=[str(row)], k=1)[0].relevance for row in range(200)]
    assert 0.25 < np.mean(best) < 0.75 and np.mean(np.array(best) > 0.95) < 0.15
    matrix[1] = matrix[0]
    fitting = Recommender(wide_engine, shelf(wide_engine, matrix)).recommend(liked=["0"], k=2)
    assert fitting[0].id == "1" and fitting[0].relevance > 0.999 and fitting[1].relevance < 0.95
    assert all(0 <= item.relevance <= 1 for item in recommender.recommend("red", k=1000))


@pytest.mark.parametrize("count", [1, 7, 203, 1500])
def test_levels_are_the_median_and_the_upper_quantile_of_a_sample(wide_engine: Engine, count: int) -> None:
    dim, rng = 512, np.random.default_rng(2)
    catalogue = shelf(wide_engine, clustered(count, dim))
    calibration = Calibration(CatalogueStore(catalogue, 1).sample(), Statistics.none(dim))
    rows = rng.standard_normal((70, 2, dim))
    levels = calibration.levels([QueryVector(row, np.ones(2)) for row in rows])
    sample = catalogue.embeddings[sample_rows(count, 1024)].astype(np.float64)
    middles, uppers = np.percentile(rows.reshape(70, -1) @ sample.T, [50, 84.134], axis=1)
    np.testing.assert_allclose(levels.medians, middles, atol=1e-5)
    np.testing.assert_allclose(levels.spreads, uppers - middles, atol=1e-5)
