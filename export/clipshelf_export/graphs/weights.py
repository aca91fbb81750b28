"""Weights rounded to int8, as arrays. Every rounding is symmetric: 0 stays 0, and the largest value becomes 127."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from clipshelf.types import FloatArray

Int8Array: TypeAlias = npt.NDArray[np.int8]


def float32(values: Any) -> FloatArray:
    """Return `values`, any array or number, as a float32 array."""
    return np.asarray(values, np.float32)


def quantise_weight(weight: FloatArray) -> tuple[Int8Array, FloatArray]:
    """Round the weight of an int8 linear, with a scale per output, so that no CPU saturates.

    x86 without VNNI multiplies uint8 inputs by int8 weights and adds two neighbouring products in 16 bits. With plain
    int8 the sum can exceed 16 bits and silently saturates. Here two neighbouring inputs of one sign hold 128 together
    at most, and 255 * 128 < 2 ** 15, so that sums are exact on every CPU.

    - `weight`: (inputs, outputs).

    Returns int8 (inputs, outputs) and scale (outputs,), with weight ~ int8 * scale.
    """
    even, odd = weight[::2], weight[1::2]
    peak = np.abs(weight).max(0)
    for sign in (1, -1):
        pairs = np.maximum(sign * even[: len(odd)], 0) + np.maximum(sign * odd, 0)
        peak = np.maximum(peak, pairs.max(0, initial=0))
    return _round_to_peak(weight, peak)


def quantise_stored_weight(weight: FloatArray) -> tuple[Int8Array, FloatArray]:
    """Round a weight that is int8 on disk only, with a scale per output.

    - `weight`: (inputs, outputs) of a linear, or (outputs, inputs, height, width) of a convolution.

    Returns int8 of the same shape, and the scale in a shape that broadcasts, with weight ~ int8 * scale.
    """
    if weight.ndim == 4:
        columns = weight.reshape(weight.shape[0], -1).T
        quantised, scale = _round_to_peak(columns, np.abs(columns).max(0))
        return quantised.T.reshape(weight.shape), scale[:, None, None, None]
    return _round_to_peak(weight, np.abs(weight).max(0))


def quantise_table(rows: FloatArray) -> tuple[Int8Array, FloatArray, FloatArray]:
    """Round a table of token embeddings, with a scale per row and one per channel.

    - `rows`: (V, C) for V tokens.

    Returns int8 (V, C), row scale (V,) and channel scale (C,), with rows ~ int8 * row scale * channel scale.
    """
    size = np.sqrt(np.einsum("vd,vd->d", rows, rows) / len(rows))
    channel_scale = float32(np.where(size > 0, size, 1))
    even = rows / channel_scale
    peak = np.maximum(even.max(1), -even.min(1))
    row_scale = float32(np.where(peak > 0, peak / 127, 1))
    even /= row_scale[:, None]
    return np.rint(even, out=even).astype(np.int8), row_scale, channel_scale


def _round_to_peak(weight: FloatArray, peak: FloatArray) -> tuple[Int8Array, FloatArray]:
    """Round weight (inputs, outputs) so that the `peak` (outputs,) of each output becomes 127."""
    scale = float32(np.where(peak > 0, peak / 127, 1))
    return np.round(weight / scale).astype(np.int8), scale
