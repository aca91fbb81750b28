"""Array aliases and the letters that shapes are written with.

B batch · H W height and width in pixels · L tokens · D embedding dim · N products · Q queries · k results

Shapes stand in docstrings, as in ``(B, D)``; the aliases only fix the dtype.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, TypeAlias

PathLike: TypeAlias = str | os.PathLike[str]
Product: TypeAlias = dict[str, Any]
Precision: TypeAlias = Literal["fp32", "fp16", "int8"]

# Called with the number of items done and of all items, None where that is not known.
Progress: TypeAlias = Callable[[int, int | None], object]

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from PIL import Image

    FloatArray: TypeAlias = npt.NDArray[np.float32]
    DoubleArray: TypeAlias = npt.NDArray[np.float64]
    Mask: TypeAlias = npt.NDArray[np.bool_]
    Pixels: TypeAlias = npt.NDArray[np.uint8]
    TokenIds: TypeAlias = npt.NDArray[np.int64]
    Rows: TypeAlias = npt.NDArray[np.int64]
    ImageArray: TypeAlias = npt.NDArray[np.uint8] | npt.NDArray[np.uint16] | npt.NDArray[np.floating[Any]]
    EncodedImage: TypeAlias = PathLike | bytes | bytearray | memoryview | BinaryIO | Mapping[str, Any]
    ImageSource: TypeAlias = EncodedImage | Image.Image | ImageArray
else:  # at run time nothing reads these, and NumPy and Pillow are slow to import
    FloatArray = DoubleArray = Mask = Pixels = TokenIds = Rows = ImageSource = Any
