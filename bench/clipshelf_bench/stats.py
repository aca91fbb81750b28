"""Medians, percentiles and intervals of times, and how close embeddings and rankings are to a reference.

Times come as rounds: R rounds of n calls each. Calls of one round share the state of the machine, so intervals
resample rounds, not calls.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from clipshelf_bench.arrays import Array, DoubleArray, FloatArray, Rows

Rounds: TypeAlias = Sequence[Sequence[float]]

_RESAMPLES = 2000
_OVERLAP_K = 10
_OVERLAP_MIN_ROWS = 20


@dataclass(frozen=True)
class Summary:
    """Percentiles in milliseconds, over `runs` calls."""

    p50: float
    p95: float
    p99: float
    runs: int


@dataclass(frozen=True)
class Ratio:
    """A ratio of two medians, and the bounds `low` and `high` of its 95 % bootstrap interval."""

    value: float
    low: float
    high: float


def summarise(rounds: Rounds) -> Summary:
    """Percentiles over the calls of all rounds, in the unit of `rounds`."""
    times = np.concatenate([np.asarray(times, float) for times in rounds])
    p50, p95, p99 = np.percentile(times, [50, 95, 99])
    return Summary(float(p50), float(p95), float(p99), len(times))


def ratio(numerator: Rounds, denominator: Rounds, seed: int = 0) -> Ratio:
    """Ratio of the medians of two contenders that ran in the same R rounds.

    - `numerator`, `denominator`: R rounds each. Round i of both is drawn together, because both met the same machine.
    - `seed`: of the resampling.

    Raises ValueError when the numbers of rounds differ.
    """
    if len(numerator) != len(denominator):
        raise ValueError(f"expected as many rounds of both, found {len(numerator)} and {len(denominator)}")
    value = summarise(numerator).p50 / summarise(denominator).p50
    above, below = (np.array([np.median(times) for times in rounds]) for rounds in (numerator, denominator))
    draws = np.random.default_rng(seed).integers(0, len(above), (_RESAMPLES, len(above)))
    low, high = np.percentile(np.median(above[draws], axis=1) / np.median(below[draws], axis=1), [2.5, 97.5])
    return Ratio(value, min(value, float(low)), max(value, float(high)))


def time_columns(rounds: Rounds, ours: Rounds | None, items: float = 1.0) -> dict[str, Any]:
    """Columns of a table for one contender.

    - `rounds`: its milliseconds.
    - `ours`: the milliseconds of clipshelf in the same rounds; None where it did not run.
    - `items`: items of one call; times are given per item.

    Returns p50_ms, p95_ms, p99_ms, runs and rounds (the median of each round), and where `ours` is another
    contender's, ratio, low and high.
    """
    summary = summarise(rounds)
    columns: dict[str, Any] = {f"{name}_ms": getattr(summary, name) / items for name in ("p50", "p95", "p99")}
    columns |= {"runs": summary.runs, "rounds": [float(np.median(times)) / items for times in rounds]}
    if ours is not None and ours is not rounds:
        against = ratio(ours, rounds)
        columns |= {"ratio": against.value, "low": against.low, "high": against.high}
    return columns


def bootstrap_interval(values: Array, *, resamples: int = _RESAMPLES, seed: int = 0) -> tuple[float, float]:
    """Bounds of the 95 % percentile bootstrap interval of the mean of values (n,)."""
    draws = np.random.default_rng(seed).integers(0, len(values), (resamples, len(values)))
    low, high = np.percentile(values[draws].mean(axis=1), [2.5, 97.5])
    return float(low), float(high)


@dataclass(frozen=True)
class Fidelity:
    """How close embeddings are to the reference's, over rows.

    - `cosine`, `cosine_min`: mean and least cosine of a row and the reference's.
    - `centred`, `centred_min`: the same after subtracting the reference's mean embedding. Plain cosine flatters,
      because any two pictures of CLIP are alike.
    - `overlap`: share of common rows among the ten nearest; None for fewer than twenty rows.
    """

    cosine: float
    cosine_min: float
    centred: float
    centred_min: float
    overlap: float | None


def fidelity(reference: FloatArray, embeds: FloatArray) -> Fidelity:
    """Compare embeddings (n, D) of unit norm with the reference's (n, D); ValueError when the shapes differ."""
    if reference.shape != embeds.shape:
        raise ValueError(f"expected embeddings {reference.shape}, found {embeds.shape}")
    mean = reference.mean(axis=0)
    plain, centred = _cosines(reference, embeds), _cosines(reference - mean, embeds - mean)
    overlap = _overlap(reference, embeds) if len(reference) >= _OVERLAP_MIN_ROWS else None
    return Fidelity(float(plain.mean()), float(plain.min()), float(centred.mean()), float(centred.min()), overlap)


def _cosines(a: FloatArray, b: FloatArray) -> DoubleArray:
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.asarray((a * b).sum(axis=1) / np.maximum(norms, 1e-12), dtype=np.float64)


def _overlap(reference: FloatArray, embeds: FloatArray) -> float:
    """Shared neighbours when each row queries the reference's rows."""
    return recall(_neighbours(reference, reference), _neighbours(embeds, reference))


def _neighbours(queries: FloatArray, rows: FloatArray) -> Rows:
    """The nearest rows of each query (n, k); row i is no neighbour of query i."""
    scores = queries @ rows.T
    np.fill_diagonal(scores, -np.inf)
    return np.argsort(-scores, axis=1)[:, :_OVERLAP_K]


def recall(expected: npt.NDArray[np.integer], actual: npt.NDArray[np.integer]) -> float:
    """Mean share of the expected rows (Q, k) that are among the actual rows (Q, k), in any order."""
    shares = [len(set(a) & set(b)) / len(a) for a, b in zip(expected.tolist(), actual.tolist(), strict=True)]
    return float(np.mean(shares))


def growth_exponent(sizes: Sequence[float], times: Sequence[float]) -> float:
    """Slope of log time over log size by least squares: 1 is linear growth, 0 is constant time."""
    return float(np.polyfit(np.log(sizes), np.log(times), 1)[0])
