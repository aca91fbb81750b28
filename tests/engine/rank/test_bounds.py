from __future__ import annotations

import math

import numpy as np
import pytest
from clipshelf.rank.bounds import LARGEST_DIGIT, ZERO_POINT, FloatRows, Int8Rows, Part, encode, row_norms
from clipshelf.rank.quantising import LARGEST_LEVEL
from clipshelf.runtime.matmul import Int8MatMul
from support.matrices import KINDS, matrix_of


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("part_type", "digits", "error_share"), [(FloatRows, 2, 0.001), (Int8Rows, 2, 0.03), (Int8Rows, 1, 0.06)]
)
def test_the_bound_holds_and_is_not_vacuous(kind: str, part_type: type[Part], digits: int, error_share: float) -> None:
    rng = np.random.default_rng(5)
    matrix = matrix_of(kind, 300, 48, rng)
    queries = np.concatenate((matrix[:3], rng.standard_normal((3, 48)) * [[1], [1e-30], [1e30]])).astype(np.float32)
    norms = row_norms(matrix)
    part = Int8Rows(matrix, norms, 1) if part_type is Int8Rows else FloatRows(matrix, norms)
    encoded = encode(queries, digits)
    estimates = zip(encoded.scaled, encoded.slacks[:, 0], part.estimate(encoded), *part.bound(encoded), strict=True)
    for query, norm, values, offset, slacks in estimates:
        truth = np.array([math.fsum(row * query) for row in matrix.astype(np.float64)])
        error = np.abs(truth - offset - values[:300].astype(np.float64))
        bound = slacks @ part.widths[:, :300]
        assert (error <= bound).all()
        if kind in ("normal", "unit", "clustered", "outlier column"):
            assert bound.max() < error_share * norms.max() * norm


def test_integer_products_are_exact_at_the_extremes() -> None:
    """CPUs without VNNI add pairs of products in 16 bits, and saturate: digits and levels keep below that."""
    digits = np.array([[0] * 64, [2 * LARGEST_DIGIT] * 64], np.uint8)
    weights = np.tile(np.array([-LARGEST_LEVEL, LARGEST_LEVEL], np.int8), (64, 8))
    values = Int8MatMul(weights, np.ones(16, np.float32), zero=ZERO_POINT, threads=1)(digits)
    np.testing.assert_array_equal(values, (digits.astype(np.int64) - ZERO_POINT) @ weights.astype(np.int64))
