from __future__ import annotations

import math
import time
from pathlib import Path

import numpy as np
import pytest
from clipshelf import Ranker
from clipshelf.errors import InputError
from clipshelf.rank import bounds, scan
from clipshelf.rank import exact as rank_exact
from clipshelf.rank.bounds import FloatRows, Int8Rows, Part, encode, row_norms
from clipshelf.runtime.matmul import Int8MatMul
from clipshelf.types import FloatArray, Rows
from hypothesis import given, settings
from hypothesis import strategies as st

KINDS = (
    *("normal", "unit", "integers", "clustered", "nearly equal", "duplicates", "zero", "denormal", "huge"),
    *("wild norms", "one giant", "outlier column", "sparse"),
)
SEEDS = st.integers(0, 2**32 - 1)
PRECISIONS = ("fp32", "int8")


def matrix_of(kind: str, n: int, dim: int, rng: np.random.Generator) -> FloatArray:
    normal = rng.standard_normal((n, dim))
    centers = rng.standard_normal((3, dim))[rng.integers(0, 3, n)]
    matrices = {
        "normal": lambda: normal,
        "unit": lambda: normal / np.linalg.norm(normal, axis=1, keepdims=True),
        "integers": lambda: rng.integers(-2, 3, (n, dim)),
        "clustered": lambda: centers + 1e-2 * normal,
        "nearly equal": lambda: centers * (1 + 1e-7 * normal),
        "duplicates": lambda: normal[rng.integers(0, 1 + n // 9, n)],
        "zero": lambda: np.zeros((n, dim)),
        "denormal": lambda: 1e-43 * normal,
        "huge": lambda: 1e37 * normal,
        "wild norms": lambda: normal * 10.0 ** rng.uniform(-30, 30, (n, 1)),
        "one giant": lambda: np.concatenate((1e20 * normal[:1], normal[1:])),
        "outlier column": lambda: normal + 100 * np.eye(dim)[0],
        "sparse": lambda: normal * (rng.random((n, dim)) < 0.1),
    }
    return matrices[kind]().astype(np.float32)


def exact(matrix: FloatArray, query: FloatArray) -> FloatArray:
    """Scores by a sum that rounds once, at its end."""
    double, column = matrix.astype(np.float64), query.astype(np.float64)
    with np.errstate(over="ignore"):
        return np.array([math.fsum(row * column) for row in double]).astype(np.float32)


def best(scores: FloatArray, k: int, mask: np.ndarray | None = None) -> Rows:
    rows = np.arange(len(scores)) if mask is None else np.flatnonzero(mask)
    return rows[np.lexsort((rows, -scores[rows]))][:k]


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(KINDS), st.integers(1, 400), st.integers(1, 12), st.booleans(), SEEDS)
def test_both_precisions_find_the_best_rows(kind: str, n: int, k: int, masked: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    dim = int(rng.integers(1, 41))
    matrix = matrix_of(kind, n, dim, rng)
    scale = 10.0 ** rng.integers(-40, 37)
    queries = np.concatenate((matrix[:2], scale * rng.standard_normal((2, dim)), np.zeros((1, dim)))).astype(np.float32)
    mask = rng.random(n) < rng.random() if masked else None
    found = [Ranker(matrix, precision, threads=1).top_k(queries, k, mask) for precision in PRECISIONS]
    np.testing.assert_array_equal(found[0][0], found[1][0])
    np.testing.assert_array_equal(found[0][1], found[1][1])
    for query, scores, rows in zip(queries, *found[0], strict=True):
        expected = exact(matrix, query)
        np.testing.assert_array_equal(rows, best(expected, k, mask))
        np.testing.assert_array_equal(scores, expected[rows])


@given(st.integers(1, 60), st.integers(1, 5), st.integers(1, 12), st.integers(1, 70), SEEDS)
def test_on_integers_it_is_numpys_stable_sort(n: int, dim: int, queries: int, k: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    matrix = rng.integers(-2, 3, (n, dim)).astype(np.float32)
    query = rng.integers(-2, 3, (queries, dim)).astype(np.float32)
    scores, rows = Ranker(matrix).top_k(query, k)
    for line, got, found in zip(query @ matrix.T, scores, rows, strict=True):
        expected = np.argsort(-line, kind="stable")[:k]
        np.testing.assert_array_equal(found, expected)
        np.testing.assert_array_equal(got, line[expected])


@pytest.mark.parametrize("kind", KINDS)
def test_many_parts_and_threads_change_nothing(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "_PART_BYTES", 2**15)
    monkeypatch.setattr(scan, "_ALONE_BYTES", 2**14)
    monkeypatch.setattr(rank_exact, "_SHORT", 2**8)
    rng = np.random.default_rng(7)
    matrix = matrix_of(kind, 5000, 33, rng)
    queries = np.concatenate((matrix[::1000], rng.standard_normal((9, 33)))).astype(np.float32)
    mask = rng.random(5000) < 0.5
    whole, parts = Ranker(matrix, "fp32", threads=1), Ranker(matrix, "int8", threads=2)
    for allowed in (None, mask):
        for one, other in zip(whole.top_k(queries, 20, allowed), parts.top_k(queries, 20, allowed), strict=True):
            np.testing.assert_array_equal(one, other)


def test_a_score_does_not_depend_on_its_batch() -> None:
    rng = np.random.default_rng(3)
    matrix = matrix_of("normal", 700, 513, rng)
    queries = rng.standard_normal((11, 513)).astype(np.float32)
    together, rows = Ranker(matrix).top_k(queries, 700)
    for query, line, found in zip(queries, together, rows, strict=True):
        alone = Ranker(matrix[found[5:6]]).top_k(query[None], 1)[0]
        assert alone[0, 0] == line[5]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("rows", "places", "error_share"), [(FloatRows, 2, 0.001), (Int8Rows, 2, 0.03), (Int8Rows, 1, 0.06)]
)
def test_the_bound_holds_and_is_not_vacuous(kind: str, rows: type[Part], places: int, error_share: float) -> None:
    rng = np.random.default_rng(5)
    matrix = matrix_of(kind, 300, 48, rng)
    queries = np.concatenate((matrix[:3], rng.standard_normal((3, 48)) * [[1], [1e-30], [1e30]])).astype(np.float32)
    norms = row_norms(matrix)
    part = Int8Rows(matrix, norms, 1) if rows is Int8Rows else FloatRows(matrix, norms)
    encoded = encode(queries, places)
    lines = zip(encoded.exact, encoded.slacks[:, 0], part.scan(encoded), *part.bound(encoded), strict=True)
    for query, norm, values, offset, slacks in lines:
        truth = np.array([math.fsum(row * query) for row in matrix.astype(np.float64)])
        error = np.abs(truth - offset - values[:300].astype(np.float64))
        room = slacks @ part.widths[:, :300]
        assert (error <= room).all()
        if kind in ("normal", "unit", "clustered", "outlier column"):
            assert room.max() < error_share * norms.max() * norm


def near_ties() -> tuple[FloatArray, FloatArray]:
    """Rows whose scores differ by much less than an int8 step, the best one last."""
    rng = np.random.default_rng(11)
    query = rng.standard_normal(64)
    noise = rng.standard_normal((900, 64))
    noise -= np.outer(noise @ query, query) / (query @ query)
    rows = noise + np.outer(1 + 1e-5 * np.arange(900), query)
    return rows.astype(np.float32), query[None].astype(np.float32)


def test_without_the_slack_near_ties_come_out_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix, query = near_ties()
    expected = best(exact(matrix, query[0]), 10)
    np.testing.assert_array_equal(Ranker(matrix, "int8").top_k(query, 10)[1][0], expected)
    bound = Int8Rows.bound
    monkeypatch.setattr(Int8Rows, "bound", lambda part, queries: (bound(part, queries)[0], np.zeros((1, 2))))
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
            for one, other in zip(ranker.top_k(query, 9, allowed), new, strict=True):
                np.testing.assert_array_equal(one, other)


def test_adding_keeps_the_large_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[int] = []

    class Counted(Int8Rows):
        def __init__(self, matrix: FloatArray, *rest: object) -> None:
            built.append(len(matrix))
            super().__init__(matrix, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(scan, "Int8Rows", Counted)
    rng = np.random.default_rng(1)
    ranker = Ranker(matrix_of("normal", 4000, 8, rng), "int8", threads=1)
    for _ in range(64):
        ranker.add(matrix_of("normal", 10, 8, rng))
    ranker.remove([5])
    assert built[0] == 4000
    assert max(built[1:]) <= 640
    assert sum(built[1:]) <= 640 * (1 + math.log2(64))


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
    assert np.shares_memory(ranker._store.runs()[0], mapped)
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
    one = np.ones((1, 3), np.float32)
    with pytest.raises(InputError, match=r"queries: expected float32 \(Q, 3\), found float32 \(1, 4\)"):
        ranker.top_k(np.ones((1, 4), np.float32), 1)
    with pytest.raises(InputError, match="k: expected 1 or more, found 0"):
        ranker.top_k(one, 0)
    with pytest.raises(InputError, match="found NaN or infinity"):
        ranker.top_k(np.full((1, 3), np.nan, np.float32), 1)
    with pytest.raises(InputError, match=r"mask: expected bool \(4,\), found bool \(3,\)"):
        ranker.top_k(one, 1, np.ones(3, np.bool_))
    with pytest.raises(InputError, match=r"matrix: expected float32 \(N, D\), found float64 \(2,\)"):
        Ranker(np.ones(2))  # type: ignore[arg-type]
    with pytest.raises(InputError, match="precision: expected one of auto, fp32, int8, found 'int4'"):
        Ranker(one, "int4")
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


def test_integer_products_are_exact_at_the_extremes() -> None:
    """CPUs without VNNI add pairs of products in 16 bits, and saturate: our digits and levels keep below that."""
    digits = np.array([[0] * 64, [2 * bounds._ZERO] * 64], np.uint8)
    weights = np.tile(np.array([-bounds._LEVELS, bounds._LEVELS], np.int8), (64, 8))
    values = Int8MatMul(weights, np.ones(16, np.float32), zero=bounds._ZERO, threads=1)(digits)
    np.testing.assert_array_equal(values, (digits.astype(np.int64) - bounds._ZERO) @ weights.astype(np.int64))


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
