"""PNG (https://www.w3.org/TR/png/) as its critical chunks and transparency, without texts, profiles and animation."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field

from clipshelf.model.containers.container import BrokenPictureError, Container, unpack
from clipshelf.model.containers.metadata import inflate, orientation
from clipshelf.model.image_limits import ImageLimits, LimitError

_SIGNATURE_SIZE, _CHUNK_FRAME = 8, 12
_HEADER_SIZE = 13
_MOST_CHUNKS = 200_000
_ONCE = (b"IHDR", b"PLTE", b"tRNS")
# Colour types, and the size of the tRNS chunk that they may have; a palette has one of up to 256 bytes.
_GRAY, _RGB, _PALETTE = 0, 2, 3
_TRANSPARENCY_SIZE = {_GRAY: 2, _RGB: 6}
# ImageMagick writes EXIF as a text of hexadecimal digits after three lines.
_EXIF_TEXT, _XMP_TEXT = b"Raw profile type exif", b"XML:com.adobe.xmp"


@dataclass
class _Metadata:
    largest: int
    exif: bytes | None = None
    xmp: bytes | None = None
    profile: bytes | None = None
    texts: dict[bytes, bytes] = field(default_factory=dict)

    def take(self, kind: bytes, body: bytes) -> None:
        """Remember what a chunk says of orientation and colours."""
        if kind == b"eXIf":
            self.exif = self.exif or body
        elif kind == b"iCCP" and self.profile is None:
            self.profile = inflate(body.partition(b"\0")[2][1:], self.largest)
        elif kind in (b"tEXt", b"zTXt", b"iTXt"):
            key, _, value = body.partition(b"\0")
            if key in (_EXIF_TEXT, _XMP_TEXT) and key not in self.texts:
                self.texts[key] = self._text(kind, value) or b""

    def _text(self, kind: bytes, value: bytes) -> bytes | None:
        if kind == b"tEXt":
            return value
        if kind == b"zTXt":
            return inflate(value[1:], self.largest)
        compressed, value = value[:1] == b"\1", value[2:].partition(b"\0")[2].partition(b"\0")[2]
        return inflate(value, self.largest) if compressed else value

    def orientation(self) -> int:
        exif = self.exif
        if exif is None and _EXIF_TEXT in self.texts:
            try:
                exif = bytes.fromhex(b"".join(self.texts[_EXIF_TEXT].split(b"\n")[3:]).decode("ascii"))
            except ValueError:
                exif = None
        return orientation(exif, self.texts.get(_XMP_TEXT))


def inspect(data: bytes, limits: ImageLimits) -> Container:
    """Read the chunks of a PNG. Raises BrokenPictureError or LimitError."""
    width, height, _, colours = unpack(">IIBB", data, _SIGNATURE_SIZE + 8)
    metadata = _Metadata(limits.metadata_bytes)
    view, pieces = memoryview(data), []
    seen: set[bytes] = set()
    position, start, stop = _SIGNATURE_SIZE, 0, len(data)
    for _ in range(_MOST_CHUNKS):
        if position + _CHUNK_FRAME > len(data):
            break
        length, kind = int.from_bytes(data[position : position + 4], "big"), data[position + 4 : position + 8]
        end = position + _CHUNK_FRAME + length
        if end > len(data) and kind in (b"IDAT", *_ONCE):
            break
        if not _is_needed(kind, view[position:end], colours, seen):
            pieces.append(view[start:position])
            start = end
            metadata.take(kind, data[position + 8 : end - 4])
        seen.add(kind)
        position = end
        if kind == b"IEND" or not kind.isalpha():
            stop = end
            break
    else:
        raise LimitError(f"over {_MOST_CHUNKS:,} chunks")
    if b"IHDR" not in seen:
        raise BrokenPictureError("its header is cut short")
    pieces.append(view[start:stop])
    return Container(
        pieces=tuple(piece for piece in pieces if len(piece)),
        size=(width, height),
        orientation=metadata.orientation(),
        profile=metadata.profile,
    )


def _is_needed(kind: bytes, chunk: memoryview, colours: int, seen: set[bytes]) -> bool:
    """Whether the decoder needs a chunk."""
    if kind == b"tRNS":
        size = len(chunk) - _CHUNK_FRAME
        fits = size == _TRANSPARENCY_SIZE.get(colours) or (colours == _PALETTE and 0 < size <= 256)
        undamaged = zlib.crc32(chunk[4:-4]) == int.from_bytes(chunk[-4:], "big")
        return fits and undamaged and kind not in seen and b"IDAT" not in seen
    if kind in _ONCE:
        return kind not in seen
    return kind in (b"IDAT", b"IEND")
