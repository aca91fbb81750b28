from __future__ import annotations

import math
import os
import platform
import threading

import numpy as np
import pytest
from clipshelf import Ranker
from clipshelf.rank.bounds import row_norms
from clipshelf.rank.exact import scores_of
from clipshelf.rank.stream import stream_part
from clipshelf.runtime.native import load_kernels
from clipshelf.runtime.native_scan import NativeScan, can_scan
from clipshelf.types import FloatArray, Mask, Rows
from support.matrices import KINDS, best_of, exact_scores, matrix_of
from support.native_library import running_kernels

# Those that a processor of this kind may have. tests/native runs the scan of ARM under emulation.
INSTRUCTION_SETS = (
    *(
        ("neon-dotprod", "neon")
        if platform.machine() in ("aarch64", "arm64")
        else ("amx", "avx512vnni", "avxvnni", "avx2")
    ),
    "portable",
)


def expected_results(
    matrix: FloatArray, queries: FloatArray, k: int, mask: Mask | None, offsets: FloatArray | None
) -> tuple[FloatArray, Rows]:
    """Scores and rows (Q, k) by sums that round once."""
    scores, rows = [], []
    for query in queries:
        if offsets is None:
            exact = exact_scores(matrix, query)
        else:
            exact = exact_scores(np.column_stack((matrix, offsets)), np.append(query, np.float32(1)))
        best = best_of(exact, k, mask)
        scores.append(exact[best])
        rows.append(best)
    return np.array(scores), np.array(rows)


@pytest.mark.parametrize("instruction_set", INSTRUCTION_SETS)
@pytest.mark.parametrize("kind", KINDS)
def test_every_instruction_set_finds_the_exact_best_rows(kind: str, instruction_set: str) -> None:
    with running_kernels(instruction_set):
        for seed in range(12):
            rng = np.random.default_rng([seed, *kind.encode()])
            n, dim, k = int(rng.integers(1, 300)), int(rng.integers(1, 150)), int(rng.integers(1, 14))
            matrix = matrix_of(kind, n, dim, rng)
            scale = 10.0 ** rng.integers(-30, 30)
            queries = np.concatenate((matrix[:2], scale * rng.standard_normal((int(rng.integers(1, 7)), dim))))
            mask = rng.random(n) < rng.random() if seed % 3 == 1 else None
            offsets = rng.standard_normal(n).astype(np.float32) if seed % 4 == 2 else None
            ranker = Ranker(matrix, "int8", threads=1 + seed % 3)
            assert ranker._native_scan is not None
            results = ranker.top_k(queries.astype(np.float32), k, mask, offsets)
            expected = expected_results(matrix, queries.astype(np.float32), k, mask, offsets)
            np.testing.assert_array_equal(results[0], expected[0])
            np.testing.assert_array_equal(results[1], expected[1])


@pytest.mark.parametrize("instruction_set", INSTRUCTION_SETS)
def test_rows_of_a_real_size_are_answered_by_few_scores(instruction_set: str) -> None:
    rng = np.random.default_rng(8)
    matrix = matrix_of("unit", 5000, 512, rng)
    queries = matrix_of("unit", 9, 512, rng)
    with running_kernels(instruction_set):
        ranker = Ranker(matrix, "int8", threads=2)
        for batch in (queries, queries[:1]):
            expected = expected_results(matrix, batch, 10, None, None)
            for result, right in zip(ranker.top_k(batch, 10), expected, strict=True):
                np.testing.assert_array_equal(result, right)
        assert ranker.certified == 1


def scan_of(matrix: FloatArray, threads: int = 1) -> NativeScan:
    kernels = load_kernels()
    assert kernels is not None
    parts = [stream_part(matrix, row_norms(matrix))]
    return NativeScan(kernels, parts, (matrix, matrix[:0]), threads)


def test_a_query_with_too_many_candidates_has_no_answer() -> None:
    matrix = np.repeat(matrix_of("normal", 40, 8, np.random.default_rng(0)), 50, axis=0)
    with running_kernels(""):
        results = np.empty((2, 3), np.float32), np.empty((2, 3), np.int64)
        queries = np.stack((matrix[0], np.zeros(8, np.float32)))
        assert scan_of(matrix)(queries, (None, None), 300, results, None) == [1]
        expected = best_of(exact_scores(matrix, queries[0]), 3)
        np.testing.assert_array_equal(results[1][0], expected)
        assert scan_of(matrix)(queries, (None, None), 2000, results, None) == []
        assert results[1][1].tolist() == [0, 1, 2]


def test_helpers_come_while_a_scan_runs_and_change_nothing() -> None:
    rng = np.random.default_rng(4)
    matrix, queries = matrix_of("unit", 20_000, 64, rng), matrix_of("unit", 40, 64, rng)
    with running_kernels(""):
        alone, shared = Ranker(matrix, "int8", threads=1), Ranker(matrix, "int8", threads=4)
        expected = alone.top_k(queries, 7)

        def search() -> None:
            for _ in range(5):
                for query, scores, rows in zip(queries, *expected, strict=True):
                    answer = shared.top_k(query[None], 7)
                    if not (np.array_equal(answer[0][0], scores) and np.array_equal(answer[1][0], rows)):
                        differences.append(rows)

        differences: list[Rows] = []
        threads = [threading.Thread(target=search) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert differences == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs forks")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_scans_with_helpers_of_its_own() -> None:
    rng = np.random.default_rng(6)
    matrix = matrix_of("unit", 20_000, 64, rng)
    with running_kernels(""):
        ranker = Ranker(matrix, "int8", threads=3)
        expected = ranker.top_k(matrix[5:6], 4)[1].tolist()
        child = os.fork()
        if child == 0:
            right = all(ranker.top_k(matrix[5:6], 4)[1].tolist() == expected for _ in range(20))
            os._exit(0 if right else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert ranker.top_k(matrix[5:6], 4)[1].tolist() == expected


def test_rows_that_lie_otherwise_are_left_to_onnxruntime() -> None:
    matrix = matrix_of("unit", 300, 16, np.random.default_rng(1))
    assert can_scan(matrix) and can_scan(matrix[::2]) and can_scan(matrix[:, 4:12])
    assert not can_scan(matrix[:, ::2]) and not can_scan(np.asfortranarray(matrix)) and not can_scan(matrix[:, :0])
    with running_kernels(""):
        for view in (matrix[::2], matrix[:, 4:12], matrix[:, ::2], np.asfortranarray(matrix)):
            queries = np.ascontiguousarray(view[:9])
            rows = Ranker(view, "int8").top_k(queries, 3)[1]
            np.testing.assert_array_equal(rows, expected_results(view, queries, 3, None, None)[1])


@pytest.mark.parametrize("path", ["off", ""])
def test_a_sum_near_the_edge_between_two_scores_is_rounded_once(path: str) -> None:
    """Float64 drops the 2**-60, without which the sum is a tie that rounds to even, downwards."""
    row = np.array([1, 2.0**-24, 2.0**-60, 0], np.float32)
    matrix = np.concatenate((row[None], np.eye(4, dtype=np.float32)[3:].repeat(300, axis=0) * 0.5))
    query = np.array([[1, 1, 1, 1]], np.float32)
    assert math.fsum(row.astype(np.float64)) == 1 + 2.0**-24  # a double cannot hold more
    above = np.array([1, 2.0**-24, 2.0**-50, 0], np.float32)
    with running_kernels(path):
        scores, rows = Ranker(matrix, "int8").top_k(query, 1)
        assert scores[0, 0] == 1 and rows[0, 0] == 0
        matrix[0] = above
        assert Ranker(matrix, "int8").top_k(query, 1)[0][0, 0] == np.nextafter(np.float32(1), np.float32(2))


def test_scores_are_those_of_one_rounding_whatever_cancels() -> None:
    rng = np.random.default_rng(12)
    matrix = matrix_of("normal", 200, 33, rng)
    matrix[:, 16:32] = -matrix[:, :16]  # sums of opposite numbers: zero, but for the order of rounding
    query = np.ones(33, np.float32)
    scores = scores_of(lambda slots: matrix[slots], query.astype(np.float64), np.arange(200))
    np.testing.assert_array_equal(scores, matrix[:, 32])
