"""Cases for the kernels, and what they give in NumPy: integer sums exactly, the rest in float64."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from kernel_runner import Array, Case

EPSILON = 1e-5
ACTIVATIONS = ("none", "silu", "gelu", "gelu_tanh")


def pack_panels(weight: Array) -> Array:
    """The panels (ceil(N/64), ceil(K/4), 64, 4) of an int8 weight (K, N), 0 beyond it."""
    inputs, outputs = weight.shape
    groups, panels = -(-inputs // 4), -(-outputs // 64)
    padded = np.zeros((4 * groups, 64 * panels), np.int8)
    padded[:inputs, :outputs] = weight
    return np.ascontiguousarray(padded.reshape(groups, 4, panels, 64).transpose(2, 0, 3, 1))


def pack_float_panels(weight: Array) -> Array:
    """The panels (ceil(N/64), K, 64) of a weight (K, N) in floating point, 0 beyond it."""
    inputs, outputs = weight.shape
    panels = -(-outputs // 64)
    padded = np.zeros((inputs, 64 * panels), weight.dtype)
    padded[:, :outputs] = weight
    return np.ascontiguousarray(padded.reshape(inputs, panels, 64).transpose(1, 0, 2))


def activate(activation: str, x: Array) -> Array:
    """An activation in float64, with NumPy alone."""
    match activation:
        case "silu":
            return np.asarray(x / (1 + np.exp(-x)))
        case "gelu":
            return np.asarray(x * _normal_distribution(x))
        case "gelu_tanh":
            return np.asarray(x / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))))
        case _:
            return x


def _normal_distribution(x: Array) -> Array:
    return np.array([math.erfc(-value / math.sqrt(2)) / 2 for value in x.ravel()]).reshape(x.shape)


def round_to_uint8(values: Array, scale: float, zero: int) -> Array:
    rounded: Array = np.clip(np.rint(values / np.float32(scale)) + zero, 0, 255).astype(np.uint8)
    return rounded


@dataclass
class LinearCase:
    """A random int8 linear of M rows, K inputs and N outputs."""

    seed: int
    rows: int
    inputs: int
    outputs: int
    activation: str = "none"
    columns: int = 0
    residual: bool = False
    rounded: bool = False
    transforms: bool = False  # shift, unspread and outlier channels of a rounded output
    exact: bool = False  # scale 1 and nothing added, so that the output is the integer sum
    extreme: bool = False  # weights and inputs at the ends of their ranges
    zero: int = 131
    out_scale: float = 0.013
    out_zero: int = 117
    a: dict[str, Array | None] = field(init=False)

    def __post_init__(self) -> None:
        random = np.random.default_rng(self.seed)
        m, k, n, o = self.rows, self.inputs, self.outputs, self.columns

        def normal(*shape: int) -> Array:
            return random.standard_normal(shape).astype(np.float32)

        x = random.integers(0, 256, (m, k), dtype=np.uint8)
        weight = random.integers(-64, 65, (k, n), dtype=np.int8)
        if self.extreme:
            x = random.choice(np.array([0, 255], np.uint8), (m, k), p=[0.1, 0.9])
            weight = random.choice(np.array([-128, 127], np.int8), (k, n))
        one, zero = np.ones(n, np.float32), np.zeros(n, np.float32)
        self.a = {
            "x": x,
            "weight": weight,
            "scale": one if self.exact else (np.abs(normal(n)) + 0.5) * np.float32(0.02 / np.sqrt(k) / 64),
            "bias": zero if self.exact else normal(n),
            "columns": normal(m, o) if o else None,
            "column_weight": normal(o, n) if o else None,
            "residual": normal(m, n) if self.residual else None,
            "shift": normal(n) if self.transforms else None,
            "unspread": np.abs(normal(n)) + np.float32(0.5) if self.transforms else None,
            "channels": random.permutation(n)[: min(3, n)].astype(np.int64) if self.transforms else None,
        }

    def case(self) -> Case:
        a = self.a
        x, weight, channels = a["x"], a["weight"], a["channels"]
        assert x is not None and weight is not None
        padded = np.zeros((self.rows, -(-self.inputs // 4) * 4), np.uint8)
        padded[:, : self.inputs] = x
        sums = weight.sum(0, dtype=np.int32)
        optional = [a[name] for name in ("columns", "column_weight", "residual", "shift", "unspread", "channels")]
        activation = ACTIVATIONS.index(self.activation)
        count = 0 if channels is None else len(channels)
        shape = [self.rows, self.inputs, self.outputs, self.zero, self.columns, activation]
        return Case(
            "linear",
            [*shape, int(self.rounded), self.out_zero, count],
            [padded, pack_panels(weight), sums, a["scale"], a["bias"], *optional],
            [self.out_scale],
        )

    def sums(self) -> Array:
        """The exact integer sums, int64."""
        x, weight = self.a["x"], self.a["weight"]
        assert x is not None and weight is not None
        return np.asarray((x.astype(np.int64) - self.zero) @ weight.astype(np.int64))

    def expected(self) -> Array:
        """The output before rounding, float64."""
        a = {name: array.astype(np.float64) for name, array in self.a.items() if array is not None}
        y = self.sums() * a["scale"] + a["bias"]
        if self.columns:
            y = y + a["columns"] @ a["column_weight"]
        if self.residual:
            y = y + a["residual"]
        y = activate(self.activation, y)
        return np.asarray((y - a["shift"]) * a["unspread"] if self.transforms else y)


@dataclass
class AttentionCase:
    """Random attention of B sequences of L tokens, with H heads of size S."""

    seed: int
    batch: int
    tokens: int
    heads: int
    size: int
    causal: bool = False
    masked: bool = False
    positions: int = 0  # of one query: one for all sequences, or one of each
    rounded: bool = False
    out_scale: float = 0.02
    out_zero: int = 128

    def __post_init__(self) -> None:
        random = np.random.default_rng(self.seed)
        shape = (self.batch, self.tokens, 3 * self.heads * self.size)
        self.packed = random.standard_normal(shape).astype(np.float32) * np.float32(1.5)
        self.lengths = random.integers(1, self.tokens + 1, self.batch)
        self.mask: Array | None = None
        if self.masked:
            self.mask = (np.arange(self.tokens) < self.lengths[:, None]).astype(np.int32)
        self.position: Array | None = None
        if self.positions:
            self.position = random.integers(0, self.tokens, self.positions).astype(np.int64)

    def case(self) -> Case:
        shape = [self.batch, self.tokens, self.heads, self.size, int(self.causal), self.positions]
        arrays = [self.packed, self.mask, self.position]
        return Case("attention", [*shape, int(self.rounded), self.out_zero], arrays, [self.out_scale])

    def expected(self) -> Array:
        """The output before rounding, float64: (B, L or 1, C)."""
        b, n, h, s = self.batch, self.tokens, self.heads, self.size
        q, k, v = (
            part.reshape(b, n, h, s).transpose(0, 2, 1, 3) for part in np.split(self.packed.astype(np.float64), 3, -1)
        )
        scores = q @ k.transpose(0, 1, 3, 2) / np.sqrt(s)
        keys = np.ones((b, 1, n, n), bool)
        if self.causal:
            keys &= np.tril(np.ones((n, n), bool))
        if self.mask is not None:
            keys &= self.mask[:, None, None, :] != 0
        weights = np.where(keys, np.exp(scores - np.where(keys, scores, -np.inf).max(-1, keepdims=True)), 0)
        y = (weights / weights.sum(-1, keepdims=True) @ v).transpose(0, 2, 1, 3).reshape(b, n, h * s)
        if self.position is None:
            return np.asarray(y)
        return np.asarray(y[np.arange(b), np.broadcast_to(self.position, b)][:, None])


SCAN_ROWS, SCAN_INPUTS, DIGIT_BASE = 16, 64, 181  # of scan.h


@dataclass
class ScanCase:
    """One block of 16 rows in levels, and Q queries in digits, of which every second one is reached.

    - `a`: the arrays by their names in scan_block.h.
    """

    seed: int
    queries: int
    dim: int

    def __post_init__(self) -> None:
        random = np.random.default_rng(self.seed)
        padded = -(-self.dim // SCAN_INPUTS) * SCAN_INPUTS
        digits = np.zeros((self.queries, 2, padded), np.int8)
        digits[..., : self.dim] = random.integers(-90, 91, (self.queries, 2, self.dim))
        self.a: dict[str, Array] = {
            "rows": random.integers(0, 183, SCAN_ROWS * self.dim + SCAN_INPUTS).astype(np.uint8),
            "steps": random.random(SCAN_ROWS).astype(np.float32),
            "digits": digits,
            "zero_sums": 91 * digits.sum(-1, dtype=np.int32),
            "errors": random.random(self.queries).astype(np.float32),
            "levels": np.where(np.arange(self.queries) % 2, np.inf, -np.inf).astype(np.float32),
        }

    def case(self) -> Case:
        return Case("scan", [self.queries, self.dim, self.a["digits"].shape[-1]], list(self.a.values()))

    def sums(self) -> Array:
        """Return the exact sums (Q, 2, 16) of levels from -91 times digits."""
        rows = self.a["rows"][: SCAN_ROWS * self.dim].reshape(SCAN_ROWS, self.dim).astype(np.int64)
        return np.asarray(self.a["digits"][..., : self.dim].astype(np.int64) @ (rows - 91).T)
