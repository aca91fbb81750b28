"""Ranking of many rows on the device, beside torch.matmul and topk in fp16, which are not exact."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from clipshelf import Ranker
from clipshelf.runtime.providers import resolve_provider

from device.report import Report, timed
from device.scale import Scale

K = 10
QUERIES = (1, 64)
ROWS_AT_A_TIME = 1_000_000


def ranking(report: Report, scale: Scale, count: int) -> None:
    """Rank `count` rows; RuntimeError where an answer is not that of a float32 scan."""
    matrix = random_rows(count, scale)
    rng = np.random.default_rng(5)
    queries = (matrix[rng.integers(0, count, max(QUERIES))] + 0.05 * rng.standard_normal((max(QUERIES), scale.dim))) / 2
    queries = queries.astype(np.float32)
    rows, certified, (scores, found) = exact_rows(matrix, queries, scale)
    report.add(f"{count:,} rows of {scale.dim}, {2 * matrix.size / 2**30:.2f} GiB on the device, k = {K}:", "")
    halves = torch_rows(matrix, scale)
    for number in QUERIES:
        times = timed(torch_call(halves, queries[:number], scale), scale.seconds)
        rows.append(["torch.matmul, topk", number, float(np.median(times)), float(np.percentile(times, 95))])
    approximate = torch_call(halves, queries, scale)()[1]
    del halves
    report.table(["", "queries", "ms, median", "95 %"], rows)
    same = float(np.mean([len(set(a) & set(b)) / K for a, b in zip(found.tolist(), approximate.tolist(), strict=True)]))
    report.add(
        f"Answered by the device alone: {certified:.1%} of the queries. torch's fp16 finds {same:.1%} of the rows.", ""
    )
    check_answers(matrix, queries[:4], scores, found, scale)


def exact_rows(matrix: Any, queries: Any, scale: Scale) -> tuple[list[Sequence[Any]], float, Any]:
    """Time clipshelf; return rows of the table, the share that the device answered by itself, and the answers."""
    begin = time.perf_counter()
    ranker = Ranker(matrix, provider=resolve_provider(scale.provider))
    rows: list[Sequence[Any]] = [["clipshelf: copying the rows", "", 1000 * (time.perf_counter() - begin), ""]]
    for number in QUERIES:
        times = timed(partial(ranker.top_k, queries[:number], K), scale.seconds)
        rows.append(["clipshelf, exact", number, float(np.median(times)), float(np.percentile(times, 95))])
    return rows, ranker.certified, ranker.top_k(queries, K)


def random_rows(count: int, scale: Scale) -> Any:
    """Unit rows (count, D) float32 on the host, drawn on the device."""
    rows = np.empty((count, scale.dim), np.float32)
    generator = torch.Generator(scale.torch_device).manual_seed(4)
    mean = torch.randn(scale.dim, generator=generator, device=scale.torch_device)
    for start in range(0, count, ROWS_AT_A_TIME):
        shape = min(ROWS_AT_A_TIME, count - start), scale.dim
        drawn = torch.randn(shape, generator=generator, device=scale.torch_device) + mean
        rows[start : start + shape[0]] = torch.nn.functional.normalize(drawn, dim=1).cpu().numpy()
    return rows


def torch_rows(matrix: Any, scale: Scale) -> Any:
    """The rows on the device in fp16."""
    halves = torch.empty(matrix.shape, dtype=torch.float16, device=scale.torch_device)
    for start in range(0, len(matrix), ROWS_AT_A_TIME):
        strip = torch.from_numpy(matrix[start : start + ROWS_AT_A_TIME])
        halves[start : start + len(strip)] = strip.to(scale.torch_device).half()
    return halves


def torch_call(halves: Any, queries: Any, scale: Scale) -> Callable[[], Any]:
    """A search from queries on the host to scores and rows on the host."""

    def call() -> Any:
        with torch.inference_mode():
            best = (torch.from_numpy(queries).to(scale.torch_device).half() @ halves.T).topk(K)
            return best.values.float().cpu().numpy(), best.indices.cpu().numpy()

    return call


def check_answers(matrix: Any, queries: Any, scores: Any, found: Any, scale: Scale) -> None:
    """Compare answers with a float64 scan of all rows by PyTorch, in strips."""
    columns = torch.from_numpy(queries).to(scale.torch_device).double().T
    products = np.empty((len(matrix), len(queries)))
    for start in range(0, len(matrix), ROWS_AT_A_TIME // 4):
        strip = torch.from_numpy(matrix[start : start + ROWS_AT_A_TIME // 4]).to(scale.torch_device).double()
        products[start : start + len(strip)] = (strip @ columns).cpu().numpy()
    for column, best, rows in zip(products.T, scores, found, strict=False):
        order = np.lexsort((np.arange(len(column)), -column.astype(np.float32)))[:K]
        if order.tolist() != rows.tolist() or not np.allclose(column[order], best, rtol=1e-6):
            raise RuntimeError(f"expected rows {order.tolist()}, found {rows.tolist()}")
