"""How many threads the kernels of a run may use, where another thread needs a core at the same time."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

from clipshelf.runtime.native import load_kernels

_ALL = 0


class ThreadLimit:
    """A limit on the threads of native kernels, for the runs of one thread. onnxruntime's own kernels ignore it.

    The threads of a session and a thread that decodes a picture slow each other down where there are more of them than
    cores: a node waits for its last part, which waits for a core. Results do not depend on the number of threads.

    - `threads`: at most so many, at least 1.
    """

    def __init__(self, threads: int) -> None:
        self._threads = ctypes.c_int64(max(1, threads))

    def lift(self) -> None:
        """Let kernels use all threads again from now on. Any thread may call it."""
        self._threads.value = _ALL

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Limit the kernels of sessions that this thread runs while the block runs."""
        kernels = load_kernels()
        if kernels is None:
            yield
            return
        limit_threads = kernels.library.clipshelf_limit_threads
        limit_threads.argtypes, limit_threads.restype = (ctypes.POINTER(ctypes.c_int64),), None
        limit_threads(ctypes.byref(self._threads))
        try:
            yield
        finally:
            limit_threads(None)
