"""Choose how one site is quantised, by the error that rounding its calibration rows and its weight really makes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from clipshelf.types import FloatArray

from clipshelf_export.graph import float32
from clipshelf_export.plan import Int8, quantise_weight
from clipshelf_export.run import Stats
from clipshelf_export.towers import Linear

# strengths of SmoothQuant; None leaves the channels alone
ALPHAS = (None, 0.3, 0.45, 0.6, 0.75, 0.9)
# shares of the full range; a narrower one clips rare values and rounds the others finer
CLIPS = (1.0, 0.9, 0.8, 0.7, 0.55, 0.4)
# what few rows show of a range is less than what more would: ranges widen by SLACK / sqrt(rows)
SLACK = 2.0


@dataclass(frozen=True)
class Choice:
    """A way to quantise a site, and the energy of its output's error over that of the output's variation."""

    int8: Int8
    error: float


def choose(stats: Stats, linear: Linear, *, spread: bool, shift: bool, outliers: int = 0) -> Choice:
    """The best static int8 of a site among spreads, ranges and, if allowed, shifts and `outliers` columns in float."""
    alphas = ALPHAS if spread else (None,)
    choices = (_best_range(stats, linear, _spread(stats, linear, a, shift), shift, outliers) for a in alphas)
    return min(choices, key=lambda choice: choice.error)


def _spread(stats: Stats, linear: Linear, alpha: float | None, shift: bool) -> FloatArray | None:
    """SmoothQuant's scale per channel, activation ** alpha / weight ** (1 - alpha), around 1. None for alpha None.

    With a shift to come, a channel is as large as half its range.
    """
    if alpha is None:
        return None
    low, high = stats.low, stats.high
    peak = (high - low) / 2 if shift else np.maximum(np.abs(low), np.abs(high))
    weight = np.abs(linear.weight).max(1)
    # dead channels and dead weights must not make scales of 0 or infinity
    peak = np.maximum(peak, 1e-4 * max(float(peak.max()), 1e-20))
    weight = np.maximum(weight, 1e-4 * max(float(weight.max()), 1e-20))
    scale = peak**alpha / weight ** (1 - alpha)
    return np.asarray(scale / np.exp(np.mean(np.log(scale))), np.float32)


def _best_range(stats: Stats, linear: Linear, spread: FloatArray | None, shift: bool, outliers: int) -> Choice:
    base = Int8(1.0, 128, spread=spread)
    scale = np.ones_like(stats.low) if spread is None else spread
    columns = _largest(stats, scale, shift, outliers)
    kept = np.ones(len(stats.low), bool)
    kept[list(columns)] = False
    base = replace(base, outliers=columns)
    if shift:
        base = replace(base, shift=_centres(stats, scale, kept))
    moved = np.zeros_like(stats.low) if base.shift is None else base.shift
    low, high, rows = (float32((v - moved) / scale) for v in (stats.low, stats.high, stats.rows))
    weight = base.fold_input(linear).weight.copy()
    weight[list(columns)] = 0
    quantised, step = quantise_weight(weight)
    rounded = quantised * step
    exact = rows @ weight
    energy = float(np.square(exact - exact.mean(0)).sum(1).mean()) + 1e-30
    best: Choice | None = None
    slack = 1 + SLACK / np.sqrt(stats.count)
    for int8 in _ranges(base, slack * float(low[kept].min()), slack * float(high[kept].max())):
        error = _row_error(_round(rows, int8) @ rounded - exact) / energy
        if best is None or error < best.error:
            best = Choice(int8, error)
    assert best is not None
    return best


def _row_error(errors: FloatArray) -> float:
    """Energy of errors (n, outputs) per row, as a root mean square over rows.

    A plain mean would let a range clip the one token in fifty that is pooled, if only it is narrow for the others.
    """
    return float(np.sqrt(np.square(np.square(errors).sum(1)).mean()))


def _ranges(base: Int8, low: float, high: float) -> Iterator[Int8]:
    """Scales and zero points over shares of [low, high], which is widened to hold 0."""
    low, high = min(low, 0.0), max(high, 0.0)
    for clip in CLIPS:
        step = max((high - low) * clip / 255, 1e-12)
        yield replace(base, scale=float(np.float32(step)), zero=int(np.clip(round(-low * clip / step), 0, 255)))


def _round(rows: FloatArray, int8: Int8) -> FloatArray:
    """What is left of x' after uint8."""
    steps = np.clip(np.rint(rows / np.float32(int8.scale)) + int8.zero, 0, 255) - int8.zero
    return np.asarray(steps * np.float32(int8.scale), np.float32)


def _largest(stats: Stats, scale: FloatArray, shift: bool, count: int) -> tuple[int, ...]:
    """The `count` channels that would widen the range most."""
    if not count:
        return ()
    low, high = stats.low / scale, stats.high / scale
    size = (high - low) / 2 if shift else np.maximum(np.abs(low), np.abs(high))
    return tuple(sorted(np.argsort(-size, kind="stable")[:count].tolist()))


def _centres(stats: Stats, scale: FloatArray, kept: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> FloatArray:
    """A shift per channel: its mean, as far as the widest channel's range leaves room, else towards its midpoint.

    The mean makes what is rounded small, so that the weights' rounding errors meet small numbers; the midpoint makes
    the range small.
    """
    half = (stats.high - stats.low) / 2 / scale
    room = float(half[kept].max()) * scale
    centre = np.minimum(np.maximum(stats.rows.mean(0), stats.high - room), stats.low + room)
    return np.asarray(centre, np.float32)
