"""JPEG (ITU-T T.81) up to its first scan: the tables that a decoder needs, without the application's segments.

A progressive JPEG, or one with a scan for each component, keeps all its coefficients in memory, however small it is
decoded; and each scan is a pass over all of them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from clipshelf.model.containers.container import BrokenPictureError, Container, Size, unpack
from clipshelf.model.containers.metadata import orientation
from clipshelf.model.image_limits import ImageLimits, LimitError

END_OF_IMAGE = b"\xff\xd9"

_MARKER = re.compile(rb"\xff+([^\x00\xff])", re.DOTALL)
# In a scan, restarts may stand after every few pixels.
_MARKER_OF_SEGMENT = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])", re.DOTALL)
_START_OF_SCAN, _APP0, _APP1, _APP2, _APP14 = 0xDA, 0xE0, 0xE1, 0xE2, 0xEE
_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD9)})
_TABLES = frozenset({0xC4, 0xCC, 0xDB, 0xDD})  # DHT, DAC, DQT, DRI
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
_COEFFICIENT_SIZE = 2
_BLOCK = 8
# All scans together may pass over this many bytes of coefficients, which takes a second or two.
_LONGEST_PASSES = 6_000_000_000
# Complete tables take some 3 kB.
_LARGEST_TABLES = 1 << 18
# Segments before the first scan, or from there on: a photo has some ten, one with large metadata some hundred.
_MOST_SEGMENTS = 10_000
_EXIF, _XMP, _ICC = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0", b"ICC_PROFILE\0"


@dataclass
class _Header:
    """What the segments before the first scan say."""

    segments: list[bytes] = field(default_factory=lambda: [b"\xff\xd8"])
    dropped: bool = False
    size: Size | None = None
    progressive: bool = False
    sampling: list[tuple[int, int]] = field(default_factory=list)
    exif: bytes | None = None
    xmp: bytes | None = None
    profile: list[bytes] = field(default_factory=list)

    def take(self, marker: int, body: bytes) -> None:
        """Keep a segment, or what it says of orientation and colours."""
        jfif = marker == _APP0 and body.startswith(b"JFIF\0") and len(body) >= 14
        adobe = marker == _APP14 and body.startswith(b"Adobe") and len(body) >= 12
        if marker in _FRAMES:
            self._take_frame(marker, body)
        if marker in _FRAMES or marker in _TABLES or jfif or adobe:
            self.segments.append(b"\xff%c%b%b" % (marker, (len(body) + 2).to_bytes(2, "big"), body))
            return
        self.dropped = True
        if marker == _APP1 and body.startswith(_EXIF):
            self.exif = self.exif or body
        elif marker == _APP1 and body.startswith(_XMP):
            self.xmp = body
        elif marker == _APP2 and body.startswith(_ICC):
            self.profile.append(body[len(_ICC) :])

    def _take_frame(self, marker: int, body: bytes) -> None:
        if self.size is not None:
            raise BrokenPictureError("it has two frame headers")
        _, height, width, components = unpack(">BHHB", body, 0)
        if len(body) < 6 + 3 * components:
            raise BrokenPictureError("its frame header is cut short")
        self.size, self.progressive = (width, height), marker in _PROGRESSIVE
        self.sampling = [divmod(body[6 + 3 * index + 1], 16) for index in range(components)]

    def coefficients(self) -> int:
        """Bytes of all coefficients."""
        blocks = sum(horizontal * vertical for horizontal, vertical in self.sampling)
        for edge, factors in zip(self.size or (0, 0), zip(*self.sampling, strict=True), strict=True):
            blocks *= -(-edge // (_BLOCK * max(1, *factors)))
        return blocks * _BLOCK * _BLOCK * _COEFFICIENT_SIZE

    def icc_profile(self, largest: int) -> bytes | None:
        """The profile, joined from its numbered segments; None where some are missing."""
        parts = sorted(part for part in self.profile if len(part) > 2)
        if not parts or parts[0][1] != len(parts) or sum(map(len, parts)) > largest:
            return None
        return b"".join(part[2:] for part in parts)


def inspect(data: bytes, limits: ImageLimits) -> Container:
    """Read a JPEG up to its first scan. Raises BrokenPictureError or LimitError."""
    header = _Header()
    position, end = 2, len(data)
    for _ in range(_MOST_SEGMENTS):
        match = _MARKER.search(data, position)
        if match is None:
            raise BrokenPictureError("it ends before its pixels")
        marker = match[1][0]
        header.dropped |= match.end() > position + 2  # padding, which Pillow reads byte by byte
        if marker == _START_OF_SCAN:
            return _container(data, match.start(), header, limits)
        position = match.end()
        if marker in _WITHOUT_LENGTH:
            continue
        if marker == END_OF_IMAGE[1]:
            raise BrokenPictureError("it ends before its pixels")
        (length,) = unpack(">H", data, position)
        if length < 2 or position + length > end:
            raise BrokenPictureError("its header is cut short")
        header.take(marker, data[position + 2 : position + length])
        position += length
    raise BrokenPictureError(f"its header has more than {_MOST_SEGMENTS:,} segments")


def _container(data: bytes, scan: int, header: _Header, limits: ImageLimits) -> Container:
    if header.size is None:
        raise BrokenPictureError("it has no frame header")
    limits.check("jpeg_pixels", header.size[0] * header.size[1], "pixels before it is scaled")
    tables = b"".join(header.segments)
    if len(tables) > _LARGEST_TABLES:
        raise BrokenPictureError(f"its header has {len(tables):,} bytes of tables")
    # the marker, which may be padded, and the segment's length stand before the number of components
    (components,) = unpack(">B", data, data.index(_START_OF_SCAN, scan) + 3)
    # libjpeg reads no scan after one that has all components
    is_buffered = header.progressive or components < len(header.sampling)
    coefficients = header.coefficients() if is_buffered else 0
    if is_buffered:
        _check_scans(data, scan, coefficients, limits)
    return Container(
        pieces=(tables, memoryview(data)[scan:]) if header.dropped else (data,),
        size=header.size,
        orientation=orientation(header.exif, header.xmp),
        profile=header.icc_profile(limits.metadata_bytes),
        extra_memory=coefficients,
    )


def _check_scans(data: bytes, position: int, coefficients: int, limits: ImageLimits) -> None:
    """Raise LimitError for more scans than are allowed, or more than a picture of this size may have."""
    scans = data.count(b"\xff\xda", position)
    if scans <= limits.jpeg_scans and scans * coefficients <= _LONGEST_PASSES:
        return
    # that count was quick, and too high where the bytes of a scan's marker stand in a segment or after the picture
    scans = _count_scans(data, position)
    limits.check("jpeg_scans", scans, "scans")
    if scans * coefficients > _LONGEST_PASSES:
        raise LimitError(f"{scans} scans of a picture so large, more than {_LONGEST_PASSES // coefficients}")


def _count_scans(data: bytes, position: int) -> int:
    """Scans up to the end of the picture; segments between them are skipped, and what follows the picture too.

    Raises BrokenPictureError for more segments than any picture has.
    """
    scans = 0
    for _ in range(_MOST_SEGMENTS):
        match = _MARKER_OF_SEGMENT.search(data, position)
        if match is None or match[1][0] == END_OF_IMAGE[1]:
            return scans
        marker, position = match[1][0], match.end()
        scans += marker == _START_OF_SCAN
        if marker not in _WITHOUT_LENGTH:
            position += int.from_bytes(data[position : position + 2], "big")
    raise BrokenPictureError(f"it has more than {_MOST_SEGMENTS:,} segments")
