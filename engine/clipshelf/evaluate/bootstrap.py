"""Intervals by the bootstrap over sessions (Efron, 1979): sessions are drawn again with replacement."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from clipshelf.types import DoubleArray, Rows

RESAMPLES = 1000
_TAIL = 2.5  # per cent on either side of an interval
_PART = 50  # resamples that are in memory at one time


@dataclass(frozen=True)
class Estimate:
    """A value and its 95 % interval."""

    value: float
    low: float
    high: float


def resamples(sessions: int, seed: int, count: int = RESAMPLES) -> list[Rows]:
    """How often each of S sessions is drawn in each resample: parts (r, S) of `count` resamples.

    All contenders are measured on the same ones, so that their differences are paired.
    """
    rng = np.random.default_rng(seed)
    shares = np.full(sessions, 1 / sessions)
    return [
        rng.multinomial(sessions, shares, size=min(_PART, count - start)).astype(np.int32)
        for start in range(0, count, _PART)
    ]


def resampled_means(values: DoubleArray, draws: list[Rows]) -> DoubleArray:
    """Means (R, M) of values (S, M) in each resample."""
    return np.concatenate([part @ values / len(values) for part in draws])


def percentile_estimate(value: float, samples: DoubleArray) -> Estimate:
    """The percentile interval of a value whose resamples are (R,)."""
    low, high = np.percentile(samples, [_TAIL, 100 - _TAIL])
    return Estimate(value, float(low), float(high))


def centred_estimate(value: float, samples: DoubleArray) -> Estimate:
    """An interval of the spread of (R,) resamples, around the value.

    For what resamples always underestimate: a resample holds about 63 % of the sessions, so it covers fewer products.
    """
    low, high = np.percentile(samples - samples.mean(), [_TAIL, 100 - _TAIL])
    return Estimate(value, max(0.0, value + float(low)), min(1.0, value + float(high)))


def resampled_coverage(ranked: Rows, draws: list[Rows], products: int) -> DoubleArray:
    """Coverage (R,) of lists (S, n) in each resample."""
    coverages = []
    for part in draws:
        for drawn in part:
            rows = ranked[drawn > 0]
            coverages.append(np.count_nonzero(np.bincount(rows[rows >= 0], minlength=products)) / products)
    return np.array(coverages)
