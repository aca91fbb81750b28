"""Weights in panels of 64 outputs, the layout that the native kernels read from the first byte to the last.

The layout is described in docs/kernels.md. Inputs and outputs that are missing from the last panel are 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from clipshelf_export.graphs.weights import Int8Array

# Outputs of a panel.
PANEL_OUTPUTS = 64
# Neighbouring inputs of an output that lie side by side in an int8 panel.
GROUP_INPUTS = 4


def fills_panels(shape: Sequence[int], *, int8: bool) -> bool:
    """Tell whether a weight (inputs, outputs) needs no padding in its panels."""
    return _padded_shape(shape, int8=int8) == tuple(shape)


def pack_int8(weight: Int8Array) -> Int8Array:
    """Return an int8 weight (inputs, outputs) as (panels, groups of inputs, 64, 4)."""
    padded = _pad(weight)
    grouped = padded.reshape(-1, GROUP_INPUTS, padded.shape[1] // PANEL_OUTPUTS, PANEL_OUTPUTS)
    return np.ascontiguousarray(grouped.transpose(2, 0, 3, 1))


def pack_float(weight: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return a weight (inputs, outputs) in floating point as (panels, inputs, 64)."""
    padded = _pad(weight)
    return np.ascontiguousarray(padded.reshape(len(weight), -1, PANEL_OUTPUTS).transpose(1, 0, 2))


def _pad(weight: npt.NDArray[Any]) -> npt.NDArray[Any]:
    padded = np.zeros(_padded_shape(weight.shape, int8=weight.dtype == np.int8), weight.dtype)
    padded[: weight.shape[0], : weight.shape[1]] = weight
    return padded


def _padded_shape(shape: Sequence[int], *, int8: bool) -> tuple[int, int]:
    inputs, outputs = shape
    group = GROUP_INPUTS if int8 else 1
    return -(-inputs // group) * group, -(-outputs // PANEL_OUTPUTS) * PANEL_OUTPUTS
