"""Rounding of weights to int8."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx", reason="export needs clipshelf[export]")

from clipshelf_export.graphs.weights import quantise_weight
from hypothesis import given
from hypothesis import strategies as st


def sixteen_bits(pixels: Any, weights: Any) -> Any:
    """Row by matrix as x86 computes it without VNNI: two products at a time, their sum saturated to 16 bits."""
    if len(weights) % 2:
        pixels, weights = np.append(pixels, 0), np.vstack([weights, np.zeros((1, weights.shape[1]), int)])
    products = pixels[:, None].astype(int) * weights
    return np.clip(products[::2] + products[1::2], -(2**15), 2**15 - 1).sum(0)


@given(seed=st.integers(0, 2**32 - 1), inputs=st.integers(1, 40), tail=st.sampled_from([0.0, 1.0, 2.0]))
def test_no_pair_of_products_saturates(seed: int, inputs: int, tail: float) -> None:
    rng = np.random.default_rng(seed)
    weight = (rng.normal(size=(inputs, 8)) * np.exp(tail * rng.normal(size=(inputs, 8)))).astype(np.float32)
    steps, scale = quantise_weight(weight)
    assert np.abs(steps.astype(int)).max() <= 127
    assert np.abs(steps * scale - weight).max() <= scale.max() * 0.5001
    for pixels in (np.full(inputs, 255), rng.integers(0, 256, inputs), 255 * rng.integers(0, 2, inputs)):
        assert np.array_equal(sixteen_bits(pixels, steps.astype(int)), pixels @ steps.astype(int))


def test_plain_rounding_would_saturate() -> None:
    weights = np.full((2, 1), 127)
    pixels = np.full(2, 255)
    assert sixteen_bits(pixels, weights) < pixels @ weights


def test_dead_outputs_round_to_zero() -> None:
    steps, scale = quantise_weight(np.zeros((3, 2), np.float32))
    assert not steps.any()
    assert np.array_equal(scale, [1, 1])
