from __future__ import annotations

import numpy as np
from clipshelf.runtime.matmul import FloatMatMul


def test_float_products_are_those_of_numpy() -> None:
    rng = np.random.default_rng(0)
    weights, inputs = rng.integers(-9, 9, (24, 40)).astype(np.float32), rng.integers(-9, 9, (5, 24)).astype(np.float32)
    np.testing.assert_array_equal(FloatMatMul(weights, threads=1)(inputs), inputs @ weights)
