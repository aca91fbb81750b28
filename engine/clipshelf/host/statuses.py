"""The statuses of the C interface, and the one that each exception becomes."""

from __future__ import annotations

from enum import IntEnum

from clipshelf.errors import (
    ArtifactError,
    CatalogueError,
    FingerprintMismatch,
    ImageError,
    InputError,
    Interrupted,
    ProviderUnavailable,
    TimedOut,
    UnknownIdError,
)


class Status(IntEnum):
    """The values of `clipshelf_status` in clipshelf.h that stand for exceptions."""

    INVALID_ARGUMENT = 1
    BAD_IMAGE = 3
    UNKNOWN_ID = 4
    BAD_ARTIFACT = 5
    BAD_CATALOGUE = 6
    MODEL_MISMATCH = 7
    NO_PROVIDER = 8
    OUT_OF_MEMORY = 10
    SYSTEM = 11
    INTERNAL = 12
    CANCELLED = 13
    TIMED_OUT = 14


# The first match counts, so a class stands before its base.
_STATUSES: tuple[tuple[type[BaseException], Status], ...] = (
    (TimedOut, Status.TIMED_OUT),
    (Interrupted, Status.CANCELLED),
    (ImageError, Status.BAD_IMAGE),
    (UnknownIdError, Status.UNKNOWN_ID),
    (InputError, Status.INVALID_ARGUMENT),
    (UnicodeDecodeError, Status.INVALID_ARGUMENT),
    (ArtifactError, Status.BAD_ARTIFACT),
    (FingerprintMismatch, Status.MODEL_MISMATCH),
    (CatalogueError, Status.BAD_CATALOGUE),
    (ProviderUnavailable, Status.NO_PROVIDER),
    (MemoryError, Status.OUT_OF_MEMORY),
    (OSError, Status.SYSTEM),
)


def failure(error: BaseException) -> tuple[int, bytes]:
    """The status that an exception becomes, and its message in UTF-8."""
    status = next((status for kind, status in _STATUSES if isinstance(error, kind)), Status.INTERNAL)
    message = str(error)
    if status is Status.INTERNAL or not message:
        message = f"{type(error).__name__}: {message}"
    return int(status), utf8(message)


def utf8(text: str) -> bytes:
    """UTF-8; a lone surrogate becomes its escape, as in JSON."""
    return text.encode("utf-8", "backslashreplace")
