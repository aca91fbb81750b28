"""Rows in int8 for the native kernels, one after the other in one stream, and the bound on what their levels say.

Row x = m + s (q + r) with mean m, step s, levels q and rest r; query y = p + f with its digits p and rest f. Then

    | x · y  -  (m · y + s q · p) |  =  s | r · y + q · f |  <=  s (R |y| + L |f|)                               (bound)

by Cauchy and Schwarz, with R and L the largest |r| and |q| of the part. q · p is summed in integers. R includes the
roundings that `quantise` names, and |f| those of the sums of high and of low digits, which one fma joins in float32.
The kernel adds R |y| + L |f| with a margin for its own two roundings (scan_error() of engine/native/scan_query.c), and
multiplies by s: one number for each row.
"""

from __future__ import annotations

import math

import numpy as np

from clipshelf.rank.quantising import LARGEST_LEVEL, can_estimate, centre_of, quantise, smallest_step, strips
from clipshelf.runtime.native_scan import BLOCK_ROWS, BYTES_AFTER, StreamPart
from clipshelf.types import DoubleArray, FloatArray


def stream_part(matrix: FloatArray, norms: DoubleArray) -> StreamPart:
    """Quantise rows.

    - `matrix`: (n, D) float32, only read.
    - `norms`: upper bounds (n,) of their norms, see `clipshelf.rank.bounds.row_norms`.
    """
    rows, dim = matrix.shape
    padded = -(-rows // BLOCK_ROWS) * BLOCK_ROWS
    stream = np.zeros(padded * dim + BYTES_AFTER, np.uint8)
    steps = np.ones(padded, np.float32)
    if not can_estimate(matrix, norms):
        return StreamPart(rows, stream, steps, np.zeros(dim), math.inf, 0.0)
    centre = centre_of(matrix)
    levels = stream[: padded * dim].reshape(padded, dim)
    rest_norm = level_norm = 0.0
    for strip in strips(rows):
        quantised = quantise(matrix[strip] - centre, smallest_step(norms))
        np.add(quantised.levels, np.float32(LARGEST_LEVEL), out=levels[strip], casting="unsafe")
        steps[strip] = quantised.steps
        rest_norm = max(rest_norm, float(quantised.rest_norms.max()))
        level_norm = max(level_norm, float(quantised.level_norms.max()))
    return StreamPart(rows, stream, steps, centre.astype(np.float64), rest_norm, level_norm)
