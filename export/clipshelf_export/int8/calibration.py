"""Calibration: run the fp32 graph on samples, and collect statistics of the rows that enter each site."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from clipshelf.types import FloatArray
from tqdm import tqdm

from clipshelf_export.checkpoints.towers import Tower
from clipshelf_export.graphs.build import write_graph
from clipshelf_export.graphs.plan import Plan
from clipshelf_export.measure.sessions import make_feeds, open_session

# Rows of a site that are kept, over all samples, to measure rounding errors on.
SAMPLE_ROWS = 512


@dataclass(frozen=True)
class SiteStatistics:
    """Statistics of the rows that enter a site of C input channels.

    - `low`, `high`: (C,), the least and the largest value of each channel over all rows.
    - `rows`: (n, C), a selection of the rows.
    - `count`: the number of all rows.
    """

    low: FloatArray
    high: FloatArray
    rows: FloatArray
    count: int


def collect_statistics(
    tower: Tower, samples: Sequence[Any], scratch: Path, threads: int, label: str
) -> dict[str, SiteStatistics]:
    """Collect the statistics of each site of a tower.

    - `samples`: pictures, uint8 (S, S, 3), or texts, int64 (L,).
    - `scratch`: the file to which the fp32 graph is written.
    - `threads`: of the session.
    - `label`: names the progress bar.

    Returns the statistics by the site's name; sites whose input is the graph's own have none.
    """
    graph = write_graph(tower, Plan(), scratch, with_site_inputs=True)
    session = open_session(scratch, threads)
    outputs = {output.name for output in session.get_outputs()}
    site_inputs = {site: tensor for site, tensor in graph.site_inputs.items() if tensor in outputs}
    tensors = list(dict.fromkeys(site_inputs.values()))
    if not tensors:
        return {}
    collected: dict[str, list[Any]] = {tensor: [] for tensor in tensors}
    select = _row_selector(max(2, -(-SAMPLE_ROWS // len(samples))))
    for sample in tqdm(samples, desc=label, leave=False, disable=None):
        for tensor, values in zip(tensors, session.run(tensors, make_feeds(session, sample)), strict=True):
            rows = _as_rows(values)
            collected[tensor].append((rows.min(0), rows.max(0), select(rows), len(rows)))
    statistics = {}
    for tensor, parts in collected.items():
        lows, highs, selections, counts = zip(*parts, strict=True)
        statistics[tensor] = SiteStatistics(np.min(lows, 0), np.max(highs, 0), np.concatenate(selections), sum(counts))
    return {site: statistics[tensor] for site, tensor in site_inputs.items()}


def _as_rows(values: FloatArray) -> FloatArray:
    """Reshape (B, L, C) to (B * L, C), and feature maps (B, C, H, W) to (B * H * W, C)."""
    if values.ndim == 4:
        values = values.transpose(0, 2, 3, 1)
    rows: FloatArray = values.reshape(-1, values.shape[-1])
    return rows


def _row_selector(count: int) -> Callable[[FloatArray], FloatArray]:
    """Return a function that selects `count` rows: the first, the last, the one with the largest value, and others.

    The others are drawn at random from a fixed seed.
    """
    rng = np.random.default_rng(0)

    def select(rows: FloatArray) -> FloatArray:
        if len(rows) <= count:
            return np.array(rows)
        fixed = [0, len(rows) - 1, int(np.abs(rows).max(1).argmax())]
        drawn = rng.choice(len(rows), max(0, count - len(fixed)), replace=False)
        return rows[[*fixed, *drawn]]

    return select
