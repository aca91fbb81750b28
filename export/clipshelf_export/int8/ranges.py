"""Choose how one site is quantised, by the error that rounding its calibration rows and its weight really makes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from clipshelf.types import FloatArray

from clipshelf_export.checkpoints.towers import Linear
from clipshelf_export.graphs.build import Stats
from clipshelf_export.graphs.builder import float32
from clipshelf_export.graphs.plan import Int8, quantise_weight

# strengths of SmoothQuant; None leaves the channels alone
ALPHAS = (None, 0.3, 0.45, 0.6, 0.75, 0.9)
# shares of the full range; a narrower one clips rare values and rounds the others finer
CLIPS = (1.0, 0.9, 0.8, 0.7, 0.55, 0.4)
# what few rows show of a range is less than what more would: ranges widen by SLACK / sqrt(rows)
SLACK = 2.0
# ranges on which strengths are compared, and how many of the best strengths are tried on all
COARSE, FINALISTS = (1.0, 0.7), 2
# outputs of a linear that its error is measured on
OUTPUTS = 256


@dataclass(frozen=True)
class Choice:
    """A way to quantise a site, and the energy of its output's error over that of the output's variation."""

    int8: Int8
    error: float


def choose(stats: Stats, linear: Linear, *, spread: bool, shift: bool, outliers: int = 0) -> Choice:
    """The best static int8 of a site among spreads, ranges and, if allowed, shifts and `outliers` columns in float."""
    trials = [_Trial.of(stats, linear, alpha, shift, outliers) for alpha in (ALPHAS if spread else (None,))]
    if len(trials) > 1:
        trials.sort(key=lambda trial: trial.best(COARSE).error)
    return min((trial.best(CLIPS) for trial in trials[:FINALISTS]), key=lambda choice: choice.error)


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


@dataclass(frozen=True)
class _Trial:
    """A site with a spread and a shift: its rows x' and its weight, exact and rounded, at some outputs."""

    base: Int8
    low: float
    high: float
    rows: FloatArray
    exact: FloatArray
    rounded: FloatArray
    energy: float

    @classmethod
    def of(cls, stats: Stats, linear: Linear, alpha: float | None, shift: bool, outliers: int) -> _Trial:
        spread = _spread(stats, linear, alpha, shift)
        scale = np.ones_like(stats.low) if spread is None else spread
        columns = _largest(stats, scale, shift, outliers)
        kept = np.ones(len(stats.low), bool)
        kept[list(columns)] = False
        base = Int8(1.0, 128, spread, _centres(stats, scale, kept) if shift else None, columns)
        moved = np.zeros_like(stats.low) if base.shift is None else base.shift
        low, high, rows = (float32((v - moved) / scale) for v in (stats.low, stats.high, stats.rows))
        weight = base.fold_input(linear).weight[:, :: -(-linear.weight.shape[1] // OUTPUTS)]
        whole = rows @ weight
        energy = float(np.square(whole - whole.mean(0)).sum(1).mean()) + 1e-30
        exact = whole - rows[:, list(columns)] @ weight[list(columns)]
        quantised, step = quantise_weight(weight * kept[:, None])
        slack = 1 + SLACK / np.sqrt(stats.count)
        limits = slack * float(low[kept].min()), slack * float(high[kept].max())
        return cls(base, *limits, rows, exact, quantised * step, energy)

    def best(self, clips: Sequence[float]) -> Choice:
        """The best of some shares of the full range."""
        choices = (Choice(int8, self._error(int8)) for int8 in _ranges(self.base, self.low, self.high, clips))
        return min(choices, key=lambda choice: choice.error)

    def _error(self, int8: Int8) -> float:
        return _row_error(_round(self.rows, int8) @ self.rounded - self.exact) / self.energy


def _row_error(errors: FloatArray) -> float:
    """Energy of errors (n, outputs) per row, as a root mean square over rows.

    A plain mean would let a range clip the one token in fifty that is pooled, if only it is narrow for the others.
    """
    return float(np.sqrt(np.square(np.square(errors).sum(1)).mean()))


def _ranges(base: Int8, low: float, high: float, clips: Sequence[float]) -> Iterator[Int8]:
    """Scales and zero points over shares of [low, high], which is widened to hold 0."""
    low, high = min(low, 0.0), max(high, 0.0)
    for clip in clips:
        step = max((high - low) * clip / 255, 1e-12)
        yield replace(base, scale=float(np.float32(step)), zero=int(np.clip(round(-low * clip / step), 0, 255)))


def _round(rows: FloatArray, int8: Int8) -> FloatArray:
    """What is left of x' after uint8."""
    steps = np.clip(np.rint(rows / np.float32(int8.scale)) + int8.zero, 0, 255) - int8.zero
    return np.asarray(steps * np.float32(int8.scale), np.float32)


def _largest(stats: Stats, scale: FloatArray, shift: bool, count: int) -> tuple[int, ...]:
    """The `count` channels that would widen the range most, at most half of all."""
    count = min(count, len(scale) // 2)
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
