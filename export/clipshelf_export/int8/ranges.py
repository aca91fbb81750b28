"""Choose the int8 parameters of one site by the error that they cause.

Candidates are compared by rounding the calibration rows and the weight, and measuring how far the site's outputs move.
The terms smoothing, shift, outliers and x' are those of `graphs.plan`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from clipshelf.types import FloatArray, Mask

from clipshelf_export.checkpoints.towers import Linear
from clipshelf_export.graphs.plan import Int8Params
from clipshelf_export.graphs.weights import float32, quantise_weight
from clipshelf_export.int8.calibration import SiteStatistics

# Strengths of SmoothQuant that are tried (its alpha); None is no smoothing.
STRENGTHS = (None, 0.3, 0.45, 0.6, 0.75, 0.9)
# Shares of the full range that are tried. A narrower range clips rare values and rounds the others more finely.
RANGE_SHARES = (1.0, 0.9, 0.8, 0.7, 0.55, 0.4)
# Strengths are first compared on these shares; this many of the best are then tried on all.
COARSE_SHARES, FINALISTS = (1.0, 0.7), 2
# Other data exceeds the calibrated range, the more so the fewer rows it was measured on: ranges are widened by this
# over the root of the number of rows.
RANGE_SLACK = 2.0
# The most outputs of a linear on which its error is measured.
MEASURED_OUTPUTS = 256
# The least size of a channel relative to the largest one, so that unused channels get no smoothing of 0 or infinity.
MIN_CHANNEL_SIZE = 1e-4


@dataclass(frozen=True)
class Choice:
    """The int8 parameters chosen for a site.

    - `params`: the parameters.
    - `error`: the energy of the output's error, as a share of the energy of the output's variation.
    """

    params: Int8Params
    error: float


def choose_params(statistics: SiteStatistics, linear: Linear, *, transform: bool, outliers: int = 0) -> Choice:
    """Choose the parameters of a site with the least error.

    - `statistics`: of the site's input rows.
    - `linear`: the site's weight and bias.
    - `transform`: whether a smoothing and a shift may be used.
    - `outliers`: how many input channels are computed in floating point.
    """
    strengths = STRENGTHS if transform else (None,)
    trials = [_Trial.prepare(statistics, linear, strength, transform, outliers) for strength in strengths]
    if len(trials) > 1:
        trials.sort(key=lambda trial: trial.best(COARSE_SHARES).error)
    return min((trial.best(RANGE_SHARES) for trial in trials[:FINALISTS]), key=lambda choice: choice.error)


@dataclass(frozen=True)
class _Trial:
    """A site with a fixed smoothing and shift, on which ranges are tried.

    - `params`: the smoothing, the shift and the outliers; scale and zero point are still to be chosen.
    - `low`, `high`: the full range of x', without the outlier channels.
    - `rows`: the calibration rows x' (n, inputs).
    - `exact`: the outputs (n, measured outputs) of the channels that are not outliers, without rounding.
    - `weight`: W' (inputs, measured outputs) after rounding.
    - `energy`: the variation of the whole outputs.
    """

    params: Int8Params
    low: float
    high: float
    rows: FloatArray
    exact: FloatArray
    weight: FloatArray
    energy: float

    @classmethod
    def prepare(
        cls, statistics: SiteStatistics, linear: Linear, strength: float | None, shift: bool, outliers: int
    ) -> _Trial:
        smoothing = _smoothing(statistics, linear, strength, shift)
        divisor = np.ones_like(statistics.low) if smoothing is None else smoothing
        columns = _widest_channels(statistics, divisor, shift, outliers)
        in_int8 = np.ones(len(statistics.low), bool)
        in_int8[list(columns)] = False
        shifts = _shifts(statistics, divisor, in_int8) if shift else None
        params = Int8Params(1.0, 128, smoothing, shifts, columns)
        subtrahend = np.zeros_like(statistics.low) if shifts is None else shifts
        low, high, rows = (
            float32((values - subtrahend) / divisor) for values in (statistics.low, statistics.high, statistics.rows)
        )
        folded = params.fold_input(linear).weight[:, :: -(-linear.weight.shape[1] // MEASURED_OUTPUTS)]
        outputs = rows @ folded
        energy = float(np.square(outputs - outputs.mean(0)).sum(1).mean()) + 1e-30
        exact = outputs - rows[:, list(columns)] @ folded[list(columns)]
        quantised, scale = quantise_weight(folded * in_int8[:, None])
        slack = 1 + RANGE_SLACK / np.sqrt(statistics.count)
        limits = slack * float(low[in_int8].min()), slack * float(high[in_int8].max())
        return cls(params, *limits, rows, exact, quantised * scale, energy)

    def best(self, shares: Sequence[float]) -> Choice:
        """Return the choice with the least error among these shares of the full range."""
        candidates = _with_ranges(self.params, self.low, self.high, shares)
        choices = (Choice(params, self._error(params)) for params in candidates)
        return min(choices, key=lambda choice: choice.error)

    def _error(self, params: Int8Params) -> float:
        return _error_energy(_round(self.rows, params) @ self.weight - self.exact) / self.energy


def _smoothing(statistics: SiteStatistics, linear: Linear, strength: float | None, shift: bool) -> FloatArray | None:
    """Return SmoothQuant's factor per channel: input ** strength / weight ** (1 - strength).

    The factors are scaled to a geometric mean of 1. `input` and `weight` are the sizes of a channel: its largest
    absolute value, or half the range of its inputs where a shift follows.
    """
    if strength is None:
        return None
    low, high = statistics.low, statistics.high
    inputs = (high - low) / 2 if shift else np.maximum(np.abs(low), np.abs(high))
    weights = np.abs(linear.weight).max(1)
    inputs = np.maximum(inputs, MIN_CHANNEL_SIZE * max(float(inputs.max()), 1e-20))
    weights = np.maximum(weights, MIN_CHANNEL_SIZE * max(float(weights.max()), 1e-20))
    factor = inputs**strength / weights ** (1 - strength)
    return np.asarray(factor / np.exp(np.mean(np.log(factor))), np.float32)


def _widest_channels(statistics: SiteStatistics, divisor: FloatArray, shift: bool, count: int) -> tuple[int, ...]:
    """Return the `count` channels that widen the range most, but not more than half of all channels."""
    count = min(count, len(divisor) // 2)
    low, high = statistics.low / divisor, statistics.high / divisor
    size = (high - low) / 2 if shift else np.maximum(np.abs(low), np.abs(high))
    return tuple(sorted(np.argsort(-size, kind="stable")[:count].tolist()))


def _shifts(statistics: SiteStatistics, divisor: FloatArray, in_int8: Mask) -> FloatArray:
    """Return the shift of each channel: its mean, moved towards the middle of its range as far as needed.

    The mean makes the rounded values small, and with them the effect of the weights' rounding errors. The middle makes
    the range small. A channel is moved only until it does not exceed the range of the widest channel in int8.
    """
    half_range = (statistics.high - statistics.low) / 2 / divisor
    room = float(half_range[in_int8].max()) * divisor
    shifts = np.minimum(np.maximum(statistics.rows.mean(0), statistics.high - room), statistics.low + room)
    return np.asarray(shifts, np.float32)


def _with_ranges(params: Int8Params, low: float, high: float, shares: Sequence[float]) -> Iterator[Int8Params]:
    """Yield `params` with the scale and the zero point of each share of [low, high], which is widened to hold 0."""
    low, high = min(low, 0.0), max(high, 0.0)
    for share in shares:
        scale = max((high - low) * share / 255, 1e-12)
        zero_point = int(np.clip(round(-low * share / scale), 0, 255))
        yield replace(params, scale=float(np.float32(scale)), zero_point=zero_point)


def _round(rows: FloatArray, params: Int8Params) -> FloatArray:
    """Return rows x' after rounding to uint8."""
    steps = np.clip(np.rint(rows / np.float32(params.scale)) + params.zero_point, 0, 255) - params.zero_point
    return np.asarray(steps * np.float32(params.scale), np.float32)


def _error_energy(errors: FloatArray) -> float:
    """Return the energy of errors (n, outputs) per row, as the root mean square over the rows.

    A plain mean would let a range clip one token in fifty in order to be narrow for the others, and that one may be the
    pooled token.
    """
    return float(np.sqrt(np.square(np.square(errors).sum(1)).mean()))
