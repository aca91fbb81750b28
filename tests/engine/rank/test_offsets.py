"""Offsets of rows: the best k of x · y + offset, against a brute-force search in float64."""

from __future__ import annotations

import numpy as np
import pytest
from clipshelf.errors import InputError
from clipshelf.rank.ranker import Ranker
from clipshelf.types import FloatArray, Mask
from hypothesis import given, settings
from hypothesis import strategies as st


def brute_force(
    matrix: FloatArray, query: FloatArray, k: int, mask: Mask | None, offsets: FloatArray
) -> tuple[FloatArray, list[int]]:
    scores = (matrix.astype(np.float64) @ query.astype(np.float64) + offsets).astype(np.float32)
    allowed = np.arange(len(matrix)) if mask is None else np.flatnonzero(mask)
    best = sorted(allowed.tolist(), key=lambda row: (-float(scores[row]), row))[:k]
    return scores[best], best


@settings(deadline=None, max_examples=60)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([1, 70, 3000]),
    st.sampled_from([1, 7, 40]),
    st.sampled_from([1e-30, 1e-6, 0.3, 50.0, 1e6, 1e25]),
    st.sampled_from([1e-25, 1.0, 1e3, 0.0]),
    st.sampled_from(["int8", "fp32"]),
    st.booleans(),
)
def test_the_best_rows_are_those_of_a_full_search(  # noqa: PLR0917
    seed: int, count: int, k: int, size: float, query_size: float, precision: str, masked: bool
) -> None:
    rng = np.random.default_rng(seed)
    matrix = rng.standard_normal((count, 12)).astype(np.float32)
    queries = (query_size * rng.standard_normal((3, 12))).astype(np.float32)
    offsets = (size * np.round(rng.standard_normal(count), 1)).astype(np.float32)
    mask = rng.random(count) < 0.7 if masked else None
    scores, rows = Ranker(matrix, precision).top_k(queries, k, mask, offsets)
    for query, found_scores, found in zip(queries, scores, rows, strict=True):
        expected_scores, expected = brute_force(matrix, query, k, mask, offsets)
        np.testing.assert_array_equal(found_scores, expected_scores)
        assert found.tolist() == expected


def test_offsets_follow_rows_that_were_added_and_removed() -> None:
    rng = np.random.default_rng(3)
    matrix = rng.standard_normal((2000, 8)).astype(np.float32)
    ranker = Ranker(matrix[:1500], "int8", threads=2)
    ranker.add(matrix[1500:])
    ranker.remove([0, 1, 700])
    left = np.delete(matrix, [0, 1, 700], axis=0)
    offsets = rng.standard_normal(len(left)).astype(np.float32)
    scores, rows = ranker.top_k(matrix[5:6], 20, None, offsets)
    expected_scores, expected = brute_force(left, matrix[5], 20, None, offsets)
    np.testing.assert_array_equal(scores[0], expected_scores)
    assert rows[0].tolist() == expected


def test_a_large_matrix_is_still_answered_with_few_candidates() -> None:
    rng = np.random.default_rng(4)
    matrix = rng.standard_normal((40_000, 64)).astype(np.float32)
    matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
    ranker = Ranker(matrix, "int8", threads=2)
    offsets = (0.1 * rng.standard_normal(len(matrix))).astype(np.float32)
    for query in matrix[:5]:
        scores, rows = ranker.top_k(query[None], 10, None, offsets)
        expected_scores, expected = brute_force(matrix, query, 10, None, offsets)
        np.testing.assert_array_equal(scores[0], expected_scores)
        assert rows[0].tolist() == expected
    assert ranker.certified == 1


@pytest.mark.parametrize(
    ("offsets", "message"),
    [
        (np.zeros(3, np.float32), r"offsets: expected float32 \(4,\), found float32 \(3,\)"),
        (np.zeros(4), r"offsets: expected float32 \(4,\), found float64"),
        (np.array([0, np.nan, 0, 0], np.float32), "offsets: expected finite numbers"),
    ],
)
def test_offsets_that_do_not_fit_are_refused(offsets: FloatArray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Ranker(np.eye(4, dtype=np.float32)).top_k(np.ones((1, 4), np.float32), 1, None, offsets)
