"""How fidelity is measured."""

from __future__ import annotations

from typing import Any

import numpy as np
from clipshelf_export.measure import fidelity


def test_the_rounding_of_norms_does_not_order_neighbours() -> None:
    rng = np.random.default_rng(0)
    rows: Any = 1 + 1e-4 * rng.normal(size=(60, 32))
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    longer = rows * (1 + 1e-6 * rng.normal(size=(60, 1))).astype(np.float32)
    assert fidelity.compare(rows, longer).top10_overlap >= 0.99
