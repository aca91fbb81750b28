from __future__ import annotations

import numpy as np
import pytest
from clipshelf import Ranker
from clipshelf.errors import InputError
from hypothesis import given
from hypothesis import strategies as st


@given(st.integers(1, 60), st.integers(1, 5), st.integers(1, 3), st.integers(1, 70), st.integers(0, 2**32 - 1))
def test_top_k_is_a_full_sort_with_ties_by_lower_row(n: int, dim: int, queries: int, k: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    matrix = rng.integers(-2, 3, (n, dim)).astype(np.float32)
    query = rng.integers(-2, 3, (queries, dim)).astype(np.float32)
    scores, rows = Ranker(matrix).top_k(query, k)
    for line, got, best in zip(query @ matrix.T, scores, rows, strict=True):
        expected = np.argsort(-line, kind="stable")[:k]
        np.testing.assert_array_equal(best, expected)
        np.testing.assert_array_equal(got, line[expected])


def test_empty_sides() -> None:
    scores, rows = Ranker(np.empty((0, 3), np.float32)).top_k(np.ones((2, 3), np.float32), 5)
    assert scores.shape == rows.shape == (2, 0)
    scores, rows = Ranker(np.ones((4, 3), np.float32)).top_k(np.empty((0, 3), np.float32), 2)
    assert scores.shape == rows.shape == (0, 2)


def test_misuse_is_named() -> None:
    ranker = Ranker(np.ones((4, 3), np.float32))
    with pytest.raises(InputError, match=r"queries: expected \(Q, 3\), found \(1, 4\)"):
        ranker.top_k(np.ones((1, 4), np.float32), 1)
    with pytest.raises(InputError, match="k: expected 1 or more, found 0"):
        ranker.top_k(np.ones((1, 3), np.float32), 0)
    with pytest.raises(InputError, match="found NaN or infinity"):
        ranker.top_k(np.full((1, 3), np.nan, np.float32), 1)
    with pytest.raises(InputError, match=r"matrix: expected float32 \(N, D\), found float64 \(2,\)"):
        Ranker(np.ones(2))  # type: ignore[arg-type]
