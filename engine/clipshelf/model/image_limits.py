"""Limits on what a picture may cost, and the memory that all decoders of a process share.

A small file can unfold to gigabytes, or keep a decoder busy for minutes. Every limit is checked against the header of a
file, before its pixels are decoded. docs/pictures.md explains each one and how it was chosen.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from typing import Any

from clipshelf.allocator import trim_memory
from clipshelf.errors import InputError
from clipshelf.runtime.memory import available_memory

# Formats that are decoded by a C library, and that shops and phones write. HEIF and JXL need a plugin.
DEFAULT_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF", "HEIF", "JXL")
# Pillow starts Ghostscript for EPS, opens whatever an IPTC wrapper holds, and hands WMF to Windows.
NEVER_DECODED = frozenset({"EPS", "IPTC", "WMF"})

# Smaller pictures are not counted in the shared memory, so that they wait for nobody.
_COUNTED_FROM = 16_000_000
# What larger ones took is given back to the system at once: malloc would keep it in an arena of the thread, where no
# other thread can take it.
_RETURNED_FROM = 100_000_000


class LimitError(ValueError):
    """A picture that would cost more than a limit allows; the message names the limit."""


@dataclass(frozen=True)
class ImageLimits:
    """What a picture may cost; one that would cost more is refused.

    - `encoded_bytes`: size of a file, of the bytes of a picture, or of a data: URI after decoding.
    - `pixels`: decoded pixels. A JPEG that is scaled while it is decoded counts as what it becomes.
    - `jpeg_pixels`: pixels of a JPEG before it is scaled.
    - `jpeg_scans`: passes over a progressive JPEG.
    - `frames`: frames of an animation, of which the first is decoded.
    - `metadata_bytes`: size of EXIF, XMP or a colour profile, unpacked. Larger ones are ignored, not refused.
    - `memory`: bytes that decoding takes beside the encoded bytes, estimated from the header. All pictures that a
      process decodes at one time share it: a picture waits until there is enough.
    - `seconds`: time of a CPU for one picture, checked between blocks of its file.
    - `formats`: Pillow's names of the formats that are decoded. EPS, IPTC and WMF cannot be asked for.

    Raises InputError for a limit that is not positive, and for a format that is never decoded.
    """

    encoded_bytes: int = 100_000_000
    pixels: int = 50_000_000
    jpeg_pixels: int = 250_000_000
    jpeg_scans: int = 100
    frames: int = 10_000
    metadata_bytes: int = 8 << 20
    memory: int = 210_000_000
    seconds: float = 10.0
    formats: tuple[str, ...] = DEFAULT_FORMATS

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name != "formats" and (not isinstance(value, (int, float)) or not value > 0):
                raise InputError(f"{field.name}: expected a positive number, found {value!r}")
        if isinstance(self.formats, str):
            raise InputError(f"formats: expected names of formats, found one string {self.formats!r}")
        formats = tuple("JPEG" if name.upper() == "MPO" else name.upper() for name in self.formats)
        if refused := sorted(NEVER_DECODED & set(formats)):
            raise InputError(f"formats: expected formats that start no interpreter, found {', '.join(refused)}")
        object.__setattr__(self, "formats", formats)

    def with_values(self, values: Mapping[str, Any]) -> ImageLimits:
        """These limits with other values by name; a list may stand for a tuple. Raises InputError."""
        names = [field.name for field in fields(self)]
        if unknown := sorted(values.keys() - set(names)):
            raise InputError(f"limits: expected some of {', '.join(names)}, found {', '.join(unknown)}")
        changes: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in values.items()
        }
        return replace(self, **changes)

    def check(self, name: str, value: int, unit: str, advice: str = "") -> None:
        """Raise LimitError if `value` is above the limit of that name; `unit` says what is counted."""
        limit = getattr(self, name)
        if value > limit:
            raise LimitError(f"{value:,} {unit}, more than the limit of {limit:,} (ImageLimits.{name}){advice}")


def default_limits() -> ImageLimits:
    """The limits of an engine that is given none: on a small machine, pictures take a quarter of its memory at most."""
    memory = available_memory()
    return ImageLimits() if memory is None else ImageLimits(memory=max(1, min(ImageLimits.memory, memory // 4)))


class Deadline:
    """The moment at which the thread that decodes a picture has used up its time.

    - `limits`: `seconds` of CPU time count from now on.
    """

    def __init__(self, limits: ImageLimits) -> None:
        self._seconds = limits.seconds
        self._start = time.thread_time()

    def check(self) -> None:
        """Raise LimitError once the time is used up."""
        if time.thread_time() - self._start > self._seconds:
            raise LimitError(f"over {self._seconds:g} seconds of decoding (ImageLimits.seconds)")


class SharedMemory:
    """Memory that the threads of a process share; a forked child starts with all of it."""

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self._pid = os.getpid()
        self._changed = threading.Condition()
        self._taken = 0

    @contextmanager
    def reserve(self, size: int, limits: ImageLimits) -> Iterator[None]:
        """Hold `size` bytes while the block runs, and wait for them where others hold too many.

        Raises LimitError for more than `limits.memory`.
        """
        limits.check("memory", size, "bytes of memory to decode it")
        if size < _COUNTED_FROM:
            yield
            return
        if self._pid != os.getpid():  # the lock may have been held by a thread that the child lacks
            self._reset()
        changed = self._changed
        with changed:
            changed.wait_for(lambda: self._taken + size <= limits.memory)
            self._taken += size
        try:
            yield
        finally:
            if size >= _RETURNED_FROM:
                trim_memory()
            with changed:
                self._taken -= size
                changed.notify_all()


# One for the process: engines do not know of each other, but they share its memory.
SHARED_MEMORY = SharedMemory()
