"""Colour profiles of other primaries than sRGB's."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from PIL import ImageCms


def with_primaries(primaries: Sequence[Sequence[float]]) -> bytes:
    """An ICC profile with the tone curve of sRGB and other primaries.

    - `primaries`: XYZ of red, green and blue, adapted to D50 (ICC.1:2022, section 9.2).
    """
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    (count,) = struct.unpack_from(">I", profile, 128)
    for entry in range(132, 132 + 12 * count, 12):
        name, offset, _ = struct.unpack_from(">4sII", profile, entry)
        if name in (b"rXYZ", b"gXYZ", b"bXYZ"):
            xyz = primaries["rgb".index(chr(name[0]))]
            struct.pack_into(">3i", profile, offset + 8, *(round(value * 65536) for value in xyz))
    return bytes(profile)
