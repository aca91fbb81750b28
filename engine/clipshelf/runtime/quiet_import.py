"""Imports onnxruntime, which on some machines warns on standard error of devices that it cannot look at.

It does so while it is imported, before it can be told not to, for example on a Raspberry Pi:
https://github.com/microsoft/onnxruntime/issues/27092
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_STANDARD_ERROR = 2


@contextmanager
def _own_lines_only() -> Iterator[None]:
    """Hold back what the process writes to standard error, and write it after the block without onnxruntime's lines.

    Does nothing where standard error is closed, and on systems other than Linux, where there are no such warnings.
    """
    if sys.platform != "linux":
        yield
        return
    try:
        saved = os.dup(_STANDARD_ERROR)
    except OSError:
        yield
        return
    with os.fdopen(os.memfd_create("clipshelf"), "w+b") as held:
        os.dup2(held.fileno(), _STANDARD_ERROR)
        try:
            yield
        finally:
            os.dup2(saved, _STANDARD_ERROR)
            os.close(saved)
            held.seek(0)
            lines = b"".join(line for line in held if b":onnxruntime:" not in line)
            with suppress(OSError):
                os.write(_STANDARD_ERROR, lines)


with _own_lines_only():
    import onnxruntime as ort

__all__ = ["ort"]
