from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from clipshelf import Catalogue, Engine
from clipshelf.catalogue.statistics import Statistics
from clipshelf.errors import CatalogueError
from support.shelves import clustered, shelf

DIM = 12


def test_the_closed_form_is_the_mean_over_pairs() -> None:
    matrix = clustered(60, DIM)
    matrix[::4, :DIM], matrix[1::4, DIM:] = 0, 0
    found = Statistics.of(matrix)
    sides = [matrix[:, :DIM].astype(np.float64), matrix[:, DIM:].astype(np.float64)]
    present: list[npt.NDArray[np.bool_]] = [np.any(side, axis=1) for side in sides]
    means = [side[has].mean(axis=0) for side, has in zip(sides, present, strict=True)]
    np.testing.assert_allclose(found.means, means, atol=1e-6)
    for a in range(2):
        for b in range(2):
            cosines = (sides[a] - means[a]) @ (sides[b] - means[b]).T
            pairs = present[a][:, None] & present[b] & ~np.eye(60, dtype=bool)
            assert found.spreads[a, b] == pytest.approx(np.sqrt((cosines[pairs] ** 2).mean()), rel=1e-5)


def test_few_products_are_not_corrected_and_a_missing_side_has_no_mean() -> None:
    assert not Statistics.of(clustered(15, DIM)).corrects and Statistics.of(clustered(16, DIM)).corrects
    matrix = clustered(50, DIM)
    matrix[:, :DIM] = 0
    found = Statistics.of(matrix)
    assert not found.means[0].any() and found.means[1].any()
    expected = np.sqrt(((matrix[:, DIM:] - found.means[1]) ** 2).sum(axis=1).mean() / DIM)
    np.testing.assert_allclose(found.spreads[0, 1], expected, rtol=1e-4)


def test_products_that_are_all_the_same_keep_a_spread() -> None:
    assert (Statistics.of(np.repeat(clustered(1, DIM), 40, axis=0)).spreads > 0).all()


def test_they_are_saved_with_the_catalogue(engine: Engine, tmp_path: Path) -> None:
    catalogue = shelf(engine, clustered(40, engine.dim))
    catalogue.save(tmp_path / "shelf")
    loaded = Catalogue.load(tmp_path / "shelf", verify=True)
    assert loaded.statistics.is_close(catalogue.statistics) and loaded.statistics.corrects
    fewer = loaded.remove(["0", "1"])
    assert not np.array_equal(fewer.statistics.means, loaded.statistics.means)


@pytest.mark.parametrize(
    "data",
    [None, {}, {"means": [[1]], "spreads": [[1, 1], [1, 1]]}, {"means": [[0], [0]], "spreads": [[1, 1], [1, 0]]}],
)
def test_wrong_data_is_refused(data: Any) -> None:
    with pytest.raises(CatalogueError, match="statistics: expected"):
        Statistics.from_dict(data, 1)
