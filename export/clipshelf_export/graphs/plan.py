"""The plan of a graph: its precision, and how each of its weights is stored and computed.

A *site* is a linear of a transformer tower that int8 can compute, named by its path in the tower, as in `layers.3.fc1`;
the input embeddings are sites too (`graphs.inputs`). A plan gives the int8 parameters of sites by their names. A site
without parameters is computed in floating point.

With x the input rows of a site, W its weight and b its bias, int8 computes

    x' = (x - shift) / smoothing       W' = smoothing * W       b' = b + shift @ W
    y  = int8(x') @ int8(W') + x'[outliers] @ W'[outliers] + b'

where smoothing and shift have a value per input channel. Without rounding y is x @ W + b. The smoothing is that of
SmoothQuant (Xiao et al. 2023), the shift that of Outlier Suppression+ (Wei et al. 2023), and the outlier channels in
floating point are those of LLM.int8() (Dettmers et al. 2022).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from clipshelf.types import FloatArray, Precision

from clipshelf_export.checkpoints.towers import Linear, Norm


@dataclass(frozen=True)
class Int8Params:
    """How a site is computed in int8, in the terms of the module's head.

    - `scale`, `zero_point`: x' is rounded to the uint8 round(x' / scale) + zero_point.
    - `smoothing`: (inputs,), None for 1.
    - `shift`: (inputs,), None for 0.
    - `outliers`: the input channels that are computed in floating point.
    """

    scale: float
    zero_point: int
    smoothing: FloatArray | None = None
    shift: FloatArray | None = None
    outliers: tuple[int, ...] = ()

    @property
    def transforms(self) -> bool:
        """Whether x' differs from x."""
        return self.smoothing is not None or self.shift is not None

    def fold_input(self, linear: Linear) -> Linear:
        """Return the linear with W' and b', which takes x' where `linear` takes x."""
        weight, bias = linear.weight, linear.bias
        if self.shift is not None:
            moved = self.shift @ weight
            bias = moved if bias is None else bias + moved
        if self.smoothing is not None:
            weight = weight * self.smoothing[:, None]
        return Linear(weight, bias)

    def fold_norm(self, norm: Norm) -> Norm:
        """Return the norm that puts out x' where `norm` puts out x."""
        gain, bias = norm.gain, norm.bias
        if self.shift is not None:
            bias = bias - self.shift
        if self.smoothing is not None:
            gain, bias = gain / self.smoothing, bias / self.smoothing
        return Norm(gain, bias, norm.epsilon)

    def fold_output(self, linear: Linear, first: int) -> Linear:
        """Return the linear that puts out x' where the outputs of `linear` from column `first` on are x."""
        weight, bias = linear.weight.copy(), linear.bias
        bias = np.zeros(weight.shape[1], np.float32) if bias is None else bias.copy()
        if self.shift is not None:
            bias[first:] -= self.shift
        if self.smoothing is not None:
            weight[:, first:] /= self.smoothing
            bias[first:] /= self.smoothing
        return Linear(weight, bias)


@dataclass(frozen=True)
class Plan:
    """The precision of a graph, and for int8 how its weights are treated.

    - `precision`: of the whole graph.
    - `sites`: int8 parameters by the name of a site.
    - `int8_stored`: names of weights that are int8 on disk and computed in floating point.
    - `fp32_stored`: whether the other weights in floating point are stored as fp32; otherwise as fp16.
    - `fp32_stream`: whether a transformer in fp16 keeps its stream and its norms in fp32, at two conversions a branch.
    """

    precision: Precision = "fp32"
    sites: Mapping[str, Int8Params] = field(default_factory=dict)
    int8_stored: frozenset[str] = frozenset()
    fp32_stored: bool = False
    fp32_stream: bool = False

    @property
    def fp16_stream(self) -> bool:
        """Whether the stream of a transformer is fp16."""
        return self.precision == "fp16" and not self.fp32_stream

    @property
    def fp16_stored(self) -> bool:
        """Whether weights in floating point are stored as fp16."""
        return self.precision != "fp32" and not self.fp32_stored
