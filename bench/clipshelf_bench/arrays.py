"""Array aliases. The bench has its own, so that a contender's process never imports clipshelf or its libraries.

Dimension letters: B batch, S edge of a square picture, L tokens, D embedding dimension, N products, Q queries,
k results.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]
FloatArray: TypeAlias = npt.NDArray[np.float32]
DoubleArray: TypeAlias = npt.NDArray[np.float64]
Pixels: TypeAlias = npt.NDArray[np.uint8]
TokenIds: TypeAlias = npt.NDArray[np.int64]
Rows: TypeAlias = npt.NDArray[np.int64]
