"""The CPU provider runs the graphs of a GPU here, so everything but the GPU's own kernels is real."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import onnxruntime
import pytest
from clipshelf import Ranker
from clipshelf.errors import ProviderUnavailable
from clipshelf.rank import device, half_rows
from clipshelf.rank.bounds import row_norms
from clipshelf.rank.device import DeviceRanker
from clipshelf.rank.rows import RowStore, SlotTerms
from clipshelf.runtime.device_scan import GROUP, DeviceScan, Terms
from clipshelf.types import FloatArray, Rows
from hypothesis import given, settings
from hypothesis import strategies as st
from support.matrices import KINDS, matrix_of

CPU = "CPUExecutionProvider"
SEEDS = st.integers(0, 2**32 - 1)


class WorstDevice(DeviceScan):
    """A device without onnxruntime, whose sums and roundings are as far off as a device's may be, up or down."""

    def put(self, rows: Any) -> Any:
        return onnxruntime.OrtValue.ortvalue_from_numpy(rows.astype(np.float16))

    def best(self, rows: Any, queries: Any, k: int, terms: Terms | None = None) -> tuple[FloatArray, Rows]:
        halves, doubles = rows.numpy().astype(np.float64), queries.astype(np.float64)
        sizes = np.abs(doubles) @ np.abs(halves).T
        values = doubles @ halves.T
        signs = np.random.default_rng(len(halves)).choice([-1, 1], values.shape)
        values += signs * sizes * (half_rows.HALF_ROUNDOFF + halves.shape[1] * half_rows.SUM_ROUNDOFF)
        if terms is not None:
            values = values * terms.scales + terms.added
        numbers = np.argsort(-values, axis=1, kind="stable")[:, :k]
        return np.take_along_axis(values, numbers, axis=1).astype(np.float32), numbers


@pytest.mark.parametrize("scan", [DeviceScan, WorstDevice])
@pytest.mark.parametrize("part_numbers", [half_rows.PART_NUMBERS, 2**12])
def test_a_device_gives_the_answers_of_the_cpu_to_the_bit(
    scan: type[DeviceScan], part_numbers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "DeviceScan", scan)
    monkeypatch.setattr(half_rows, "PART_NUMBERS", part_numbers)

    @settings(max_examples=40, deadline=None)
    @given(
        st.sampled_from(KINDS), st.integers(1, 2000), st.integers(1, 40), st.tuples(st.booleans(), st.booleans()), SEEDS
    )
    def check(kind: str, n: int, k: int, masked_and_raised: tuple[bool, bool], seed: int) -> None:
        masked, raised = masked_and_raised
        rng = np.random.default_rng(seed)
        dim = int(rng.integers(1, 41))
        matrix = matrix_of(kind, n, dim, rng)
        scale = 10.0 ** rng.integers(-40, 37)
        random = np.concatenate((scale * rng.standard_normal((2, dim)), np.zeros((1, dim)))).astype(np.float32)
        queries = np.concatenate((matrix[:2], random))
        mask = rng.random(n) < rng.random() if masked else None
        offsets = (rng.standard_normal(n) * 10.0 ** rng.integers(-20, 20)).astype(np.float32) if raised else None
        here, there = Ranker(matrix, threads=1), Ranker(matrix, threads=1, provider=CPU)
        for ours, theirs in zip(
            here.top_k(queries, k, mask, offsets), there.top_k(queries, k, mask, offsets), strict=True
        ):
            np.testing.assert_array_equal(ours, theirs)

    check()


@pytest.mark.parametrize("kind", ["normal", "unit", "clustered", "outlier column"])
def test_the_device_answers_by_itself(kind: str) -> None:
    """Else everything above would be answered by the CPU."""
    rng = np.random.default_rng(3)
    matrix = matrix_of(kind, 20_000, 64, rng)
    queries = rng.standard_normal((70, 64)).astype(np.float32)
    ranker = Ranker(matrix, provider=CPU)
    mask, offsets = rng.random(20_000) < 0.5, rng.standard_normal(20_000).astype(np.float32)
    for terms in ((None, None), (mask, None), (None, offsets), (mask, offsets)):
        ranker.top_k(queries, 10, *terms)
    assert ranker.certified == 1


def test_equal_rows_beyond_the_limit_are_left_to_the_host() -> None:
    matrix = np.ones((5000, 8), np.float32)
    ranker = Ranker(matrix, provider=CPU)
    scores, rows = ranker.top_k(np.ones((1, 8), np.float32), 10)
    assert rows.tolist() == [[*range(10)]]
    assert scores.tolist() == [[8.0] * 10]
    assert ranker.certified == 0


@given(st.sampled_from(KINDS), SEEDS)
def test_the_bound_holds_for_every_row(kind: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    matrix = matrix_of(kind, 200, 24, rng)
    queries = half_rows.half_queries((10.0 ** rng.integers(-30, 30) * rng.standard_normal((3, 24))).astype(np.float32))
    part = half_rows.half_rows(matrix, row_norms(matrix), GROUP)
    halves = part.scaled[:200].astype(np.float16).astype(np.float64)
    assert np.abs(halves).max() <= 1
    assert (queries.half_norms <= 1 + 2**-8).all()
    means, mean_errors = half_rows.offsets(part, queries)
    estimates = means[:, None] + part.scale * queries.scales[:, None] * (queries.halves.astype(np.float64) @ halves.T)
    exact = queries.scales[:, None] * (queries.scaled @ matrix.astype(np.float64).T)
    allowed = part.scale * queries.scales * half_rows.errors(part, queries) + mean_errors
    assert (np.abs(estimates - exact) <= allowed[:, None]).all() or not np.isfinite(allowed).all()


def test_rows_are_added_and_removed() -> None:
    rng = np.random.default_rng(5)
    matrix, queries = rng.standard_normal((500, 16), np.float32), rng.standard_normal((3, 16), np.float32)
    rankers = [Ranker(matrix, threads=1), Ranker(matrix, threads=1, provider=CPU)]
    for count in (1, 70, 900):
        rows = rng.standard_normal((count, 16), np.float32)
        removed = rng.integers(0, 400, 9)
        for ranker in rankers:
            ranker.add(rows)
            ranker.remove(removed)
        for ours, theirs in zip(*(ranker.top_k(queries, 30) for ranker in rankers), strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_added_rows_join_the_part_before_them_where_it_is_small() -> None:
    store = RowStore(np.ones((100, 4), np.float32))
    ranker = DeviceRanker(CPU, store, 1)
    copied: list[int] = []
    put = DeviceScan.put

    def counted(scan: DeviceScan, rows: Any) -> Any:
        copied.append(len(rows))
        return put(scan, rows)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DeviceScan, "put", counted)
        for count in (10, 60, 1):
            store.append(np.ones((count, 4), np.float32))
            ranker.update()
    assert copied == [GROUP, 192, GROUP]  # 10 rows alone; then 100, 10 and 60 together; then 1 alone
    results = np.empty((1, 3), np.float32), np.empty((1, 3), np.int64)
    assert ranker(np.ones((1, 4), np.float32), SlotTerms(np.arange(171) > 167, None), results) == []
    assert results[1].tolist() == [[168, 169, 170]]


def test_an_empty_matrix_needs_no_device() -> None:
    scores, rows = Ranker(np.empty((0, 4), np.float32), provider=CPU).top_k(np.ones((2, 4), np.float32), 3)
    assert scores.shape == rows.shape == (2, 0)


def test_a_full_device_is_told_plainly(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: Any) -> Any:
        raise RuntimeError("Failed to allocate memory for requested buffer")

    monkeypatch.setattr(onnxruntime.OrtValue, "ortvalue_from_shape_and_type", full)
    with pytest.raises(ProviderUnavailable, match=r"expected room for 2 MiB of rows on the device, found: Failed to"):
        Ranker(np.ones((2**14, 64), np.float32), provider=CPU)


def test_the_host_keeps_no_second_copy_of_the_rows() -> None:
    ranker = DeviceRanker(CPU, RowStore(np.ones((4096, 8), np.float32)), 1)
    assert [part.rows.scaled.nbytes for part in ranker._parts] == [0]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_forked_child_ranks_on_the_cpu() -> None:
    rng = np.random.default_rng(6)
    matrix, queries = rng.standard_normal((3000, 16), np.float32), rng.standard_normal((2, 16), np.float32)
    ranker = Ranker(matrix, threads=1, provider=CPU)
    expected = ranker.top_k(queries, 5)
    child = os.fork()
    if child == 0:
        scores, rows = ranker.top_k(queries, 5)
        same = bool((scores == expected[0]).all() and (rows == expected[1]).all())
        os._exit(0 if same and ranker._device is None else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
