from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from clipshelf import Ranker
from clipshelf.errors import InputError
from clipshelf.rank import exact, scan
from clipshelf.rank import ranker as ranker_module
from clipshelf.rank.bounds import Int8Rows
from clipshelf.rank.stream import stream_part
from clipshelf.runtime.native_scan import StreamPart
from clipshelf.types import DoubleArray, FloatArray
from hypothesis import given, settings
from hypothesis import strategies as st
from support.matrices import KINDS, best_of, exact_scores, matrix_of

pytestmark = pytest.mark.usefixtures("int8_path")

SEEDS = st.integers(0, 2**32 - 1)
PRECISIONS = ("fp32", "int8")


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(KINDS), st.integers(1, 400), st.integers(1, 12), st.booleans(), SEEDS)
def test_both_precisions_find_the_best_rows(kind: str, n: int, k: int, masked: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    dim = int(rng.integers(1, 41))
    matrix = matrix_of(kind, n, dim, rng)
    scale = 10.0 ** rng.integers(-40, 37)
    queries = np.concatenate((matrix[:2], scale * rng.standard_normal((2, dim)), np.zeros((1, dim)))).astype(np.float32)
    mask = rng.random(n) < rng.random() if masked else None
    fp32, int8 = (Ranker(matrix, precision, threads=1).top_k(queries, k, mask) for precision in PRECISIONS)
    np.testing.assert_array_equal(fp32[0], int8[0])
    np.testing.assert_array_equal(fp32[1], int8[1])
    for query, scores, rows in zip(queries, *fp32, strict=True):
        expected = exact_scores(matrix, query)
        np.testing.assert_array_equal(rows, best_of(expected, k, mask))
        np.testing.assert_array_equal(scores, expected[rows])


@given(st.integers(1, 60), st.integers(1, 5), st.integers(1, 12), st.integers(1, 70), SEEDS)
def test_on_integers_it_is_numpys_stable_sort(n: int, dim: int, queries: int, k: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    matrix = rng.integers(-2, 3, (n, dim)).astype(np.float32)
    query = rng.integers(-2, 3, (queries, dim)).astype(np.float32)
    scores, rows = Ranker(matrix).top_k(query, k)
    for products, top_scores, top_rows in zip(query @ matrix.T, scores, rows, strict=True):
        expected = np.argsort(-products, kind="stable")[:k]
        np.testing.assert_array_equal(top_rows, expected)
        np.testing.assert_array_equal(top_scores, products[expected])


@pytest.mark.parametrize("kind", KINDS)
def test_many_parts_and_threads_change_nothing(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "PART_BYTES", 2**15)
    monkeypatch.setattr(scan, "ONE_PART_BYTES", 2**14)
    monkeypatch.setattr(exact, "SEARCH_PEAKS_ABOVE", 2**8)
    rng = np.random.default_rng(7)
    matrix = matrix_of(kind, 5000, 33, rng)
    queries = np.concatenate((matrix[::1000], rng.standard_normal((9, 33)))).astype(np.float32)
    mask = rng.random(5000) < 0.5
    whole, parts = Ranker(matrix, "fp32", threads=1), Ranker(matrix, "int8", threads=2)
    for allowed in (None, mask):
        for fp32, int8 in zip(whole.top_k(queries, 20, allowed), parts.top_k(queries, 20, allowed), strict=True):
            np.testing.assert_array_equal(fp32, int8)


def near_ties() -> tuple[FloatArray, FloatArray]:
    """Rows whose scores differ by much less than an int8 step, the best one last."""
    rng = np.random.default_rng(11)
    query = rng.standard_normal(64)
    noise = rng.standard_normal((900, 64))
    noise -= np.outer(noise @ query, query) / (query @ query)
    rows = noise + np.outer(1 + 1e-5 * np.arange(900), query)
    return rows.astype(np.float32), query[None].astype(np.float32)


def test_without_the_slack_near_ties_come_out_wrong(int8_path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    matrix, query = near_ties()
    expected = best_of(exact_scores(matrix, query[0]), 10)
    np.testing.assert_array_equal(Ranker(matrix, "int8").top_k(query, 10)[1][0], expected)
    if int8_path == "off":
        bound = Int8Rows.bound
        monkeypatch.setattr(Int8Rows, "bound", lambda part, queries: (bound(part, queries)[0], np.zeros((1, 2))))
    else:
        part = stream_part

        def part_without_bound(matrix: FloatArray, norms: DoubleArray) -> StreamPart:
            return part(matrix, norms)._replace(rest_norm=0.0, level_norm=0.0)

        monkeypatch.setattr(ranker_module, "stream_part", part_without_bound)
    assert Ranker(matrix, "int8").top_k(query, 10)[1][0].tolist() != expected.tolist()


def test_the_share_of_certified_queries() -> None:
    rng = np.random.default_rng(2)
    matrix = matrix_of("unit", 3000, 32, rng)
    matrix[500:2500] = matrix[500]
    ranker = Ranker(matrix, "int8")
    assert ranker.certified == 1
    ranker.top_k(-matrix[500:501], 3)
    assert ranker.certified == 1
    rows = ranker.top_k(matrix[500:501], 3)[1]
    assert rows.tolist() == [[500, 501, 502]]
    assert ranker.certified == 0.5
    both = ranker.top_k(np.concatenate((-matrix[500:501], matrix[500:501])), 3)
    assert both[1][1].tolist() == [500, 501, 502]
    np.testing.assert_array_equal(both[0][:1], ranker.top_k(-matrix[500:501], 3)[0])
    assert ranker.certified == 3 / 5


@settings(max_examples=40, deadline=None)
@given(st.data(), st.sampled_from(PRECISIONS), SEEDS)
def test_adding_and_removing_rows_is_like_a_new_ranker(data: st.DataObject, precision: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    matrix = rng.integers(-3, 4, (data.draw(st.integers(0, 300)), 8)).astype(np.float32)
    ranker = Ranker(matrix, precision, threads=1)
    query = rng.integers(-3, 4, (2, 8)).astype(np.float32)
    for size in data.draw(st.lists(st.integers(-200, 200), max_size=6)):
        if size > 0:
            rows = rng.integers(-3, 4, (size, 8)).astype(np.float32)
            ranker.add(rows)
            matrix = np.concatenate((matrix, rows))
        else:
            gone = rng.permutation(len(matrix))[:-size]
            ranker.remove(gone)
            matrix = np.delete(matrix, gone, axis=0)
        assert len(ranker) == len(matrix)
        mask = rng.random(len(matrix)) < 0.7
        for allowed in (None, mask):
            new = Ranker(matrix, "fp32").top_k(query, 9, allowed)
            for changed, expected in zip(ranker.top_k(query, 9, allowed), new, strict=True):
                np.testing.assert_array_equal(changed, expected)


def test_a_removed_row_is_not_found_and_others_move_up() -> None:
    matrix = np.arange(6, dtype=np.float32)[:, None]
    ranker = Ranker(matrix)
    ranker.remove(np.array([5, 1]))
    scores, rows = ranker.top_k(np.ones((1, 1), np.float32), 9)
    assert scores.tolist() == [[4, 3, 2, 0]]
    assert rows.tolist() == [[3, 2, 1, 0]]


def test_auto_takes_int8_once_the_matrix_is_large() -> None:
    ranker = Ranker(np.ones((1000, 512), np.float32))
    assert ranker.precision == "fp32"
    ranker.add(np.eye(2000, 512, dtype=np.float32))
    assert ranker.precision == "int8"
    assert ranker.top_k(-np.eye(1, 512, dtype=np.float32), 2)[1].tolist() == [[1001, 1002]]


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_read_only_memory_map_stays_where_it_is(precision: str, tmp_path: Path) -> None:
    matrix = matrix_of("unit", 2000, 16, np.random.default_rng(0))
    np.save(tmp_path / "rows.npy", matrix)
    mapped = np.load(tmp_path / "rows.npy", mmap_mode="r")
    ranker = Ranker(mapped, precision)
    assert np.shares_memory(ranker._store.matrices()[0], mapped)
    assert ranker.top_k(matrix[:50], 1)[1][:, 0].tolist() == list(range(50))


@pytest.mark.parametrize("precision", PRECISIONS)
def test_empty_sides(precision: str) -> None:
    for n, queries, k in ((0, 2, 0), (4, 0, 2)):
        ranker = Ranker(np.ones((n, 3), np.float32), precision)
        scores, rows = ranker.top_k(np.ones((queries, 3), np.float32), 2)
        assert scores.shape == rows.shape == (queries, k)
        assert scores.dtype == np.float32 and rows.dtype == np.int64
    ranker = Ranker(np.ones((4, 3), np.float32), precision)
    assert ranker.top_k(np.ones((1, 3), np.float32), 2, np.zeros(4, np.bool_))[1].shape == (1, 0)
    assert ranker.top_k(np.ones((1, 3), np.float32), 9)[1].tolist() == [[0, 1, 2, 3]]
    assert Ranker(np.ones((2, 0), np.float32), precision).top_k(np.ones((1, 0), np.float32), 1)[1].tolist() == [[0]]


def test_misuse_is_named() -> None:
    ranker = Ranker(np.ones((4, 3), np.float32))
    query = np.ones((1, 3), np.float32)
    with pytest.raises(InputError, match=r"queries: expected float32 \(Q, 3\), found float32 \(1, 4\)"):
        ranker.top_k(np.ones((1, 4), np.float32), 1)
    with pytest.raises(InputError, match="k: expected 1 or more, found 0"):
        ranker.top_k(query, 0)
    with pytest.raises(InputError, match="found NaN or infinity"):
        ranker.top_k(np.full((1, 3), np.nan, np.float32), 1)
    with pytest.raises(InputError, match=r"mask: expected bool \(4,\), found bool \(3,\)"):
        ranker.top_k(query, 1, np.ones(3, np.bool_))
    with pytest.raises(InputError, match=r"matrix: expected float32 \(N, D\), found float64 \(2,\)"):
        Ranker(np.ones(2))  # type: ignore[arg-type]
    with pytest.raises(InputError, match="precision: expected one of auto, fp32, int8, found 'int4'"):
        Ranker(query, "int4")
    with pytest.raises(InputError, match=r"rows: expected \(M, 3\), found \(1, 4\)"):
        ranker.add(np.ones((1, 4), np.float32))
    with pytest.raises(InputError, match="rows: expected numbers from 0 to 3, found 1 to 4"):
        ranker.remove([4, 1])
    with pytest.raises(InputError, match="rows: expected row numbers, found bool"):
        ranker.remove(np.ones(4, np.bool_))


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_rows_must_be_finite(precision: str, bad: float) -> None:
    matrix = np.ones((300, 4), np.float32)
    ranker = Ranker(matrix, precision)
    broken = matrix.copy()
    broken[170, 2] = bad
    with pytest.raises(InputError, match="matrix: expected finite numbers, found NaN or infinity in row 170"):
        Ranker(broken, precision)
    with pytest.raises(InputError, match="found NaN or infinity in row 170"):
        ranker.add(broken)
    assert len(ranker) == 300


@pytest.mark.parametrize(("precision", "shape"), [("fp32", (1000, 700)), ("int8", (10_000, 128))])
def test_a_query_leaves_no_thread_awake(precision: str, shape: tuple[int, int]) -> None:
    rows = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    ranker = Ranker(rows, precision, threads=2)
    ranker.top_k(rows[:1], 10)
    time.sleep(0.3)  # whatever ran before has gone to sleep
    start = time.process_time()
    for _ in range(5):
        ranker.top_k(rows[:1], 10)
        time.sleep(0.02)
    assert time.process_time() - start < 0.05
