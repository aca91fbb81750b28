"""The scan of int8 rows by the native kernels: engine/native/scan.h, called through ctypes.

Every call releases the interpreter lock. Threads share a scan by coming through a gate, and those that came wait awake
for the next scan a while, since to wake a thread takes about as long as to scan ten thousand rows
(docs/design-notes/runtime.md).
"""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from clipshelf.forks import call_in_child
from clipshelf.runtime.native import Kernels
from clipshelf.types import DoubleArray, FloatArray, Mask, Rows
from clipshelf.workers import Workers

# A block has this many rows, and this many bytes after the last row may be read: SCAN_ROWS, SCAN_INPUTS of scan.h.
BLOCK_ROWS = 16
BYTES_AFTER = 64
LARGEST_DIM = 2**16  # sums of digits of longer rows could leave int32
WAIT_MICROSECONDS = 200.0
_NO_MEMORY = 3  # SCAN_NO_MEMORY of scan.h

_Pointer, _Int = ctypes.c_void_p, ctypes.c_int64
_PROTOTYPES: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "clipshelf_kernels": (_Pointer, (ctypes.c_char_p,)),
    "clipshelf_scan_new": (
        _Pointer,
        (_Pointer, _Pointer, _Int, _Int, _Pointer, _Int, _Pointer, _Pointer, _Int, _Int, _Int, ctypes.c_int),
    ),
    "clipshelf_scan_run": (None, (_Pointer,) * 6),
    "clipshelf_scan_free": (None, (_Pointer,)),
    "clipshelf_gate_new": (_Pointer, ()),
    "clipshelf_gate_free": (None, (_Pointer,)),
    "clipshelf_gate_open": (_Int, (_Pointer, _Pointer, _Int)),
    "clipshelf_gate_help": (None, (_Pointer, ctypes.c_double)),
}


class StreamPart(NamedTuple):
    """A run of rows x = mean + step (level + rest).

    - `levels`: (p * D + BYTES_AFTER,) uint8, the levels plus 91 row after row; p is n padded to whole blocks.
    - `steps`: (p,) float32.
    - `mean`: (D,) float64.
    - `rest_norm`, `level_norm`: bounds on the norms of the rests and the levels of all rows; infinity and 0 where the
      levels say nothing.
    """

    rows: int
    levels: npt.NDArray[np.uint8]
    steps: FloatArray
    mean: DoubleArray
    rest_norm: float
    level_norm: float


class _Part(ctypes.Structure):
    """ScanPart of scan.h."""

    _fields_ = (
        ("levels", _Pointer),
        ("steps", _Pointer),
        ("mean", _Pointer),
        ("rows", _Int),
        ("rest_norm", ctypes.c_double),
        ("level_norm", ctypes.c_double),
    )


class _Rows(ctypes.Structure):
    """ScanRows of scan.h."""

    _fields_ = (("rows", _Pointer), ("count", _Int), ("stride", _Int))


class NativeScan:
    """Finds the exact best rows, which `clipshelf.rank.exact` defines. Several threads may call it at once.

    - `kernels`: the library, and the instruction set that runs.
    - `parts`: the rows in levels, in parts that follow each other.
    - `matrices`: the rows themselves, (N, D) float32 in two matrices that follow each other, see `can_scan`.
    - `threads`: threads of one scan.
    """

    def __init__(
        self,
        kernels: Kernels,
        parts: Sequence[StreamPart],
        matrices: tuple[FloatArray, FloatArray],
        threads: int,
    ) -> None:
        self._library = kernels.library
        for name, (result, arguments) in _PROTOTYPES.items():
            function = getattr(self._library, name)
            function.restype, function.argtypes = result, arguments
        self._kernels = self._library.clipshelf_kernels(kernels.instruction_set.encode())
        self._owned = tuple(parts), matrices  # the library reads their memory
        addresses = ((_address(part.levels), _address(part.steps), _address(part.mean)) for part in parts)
        records = [
            _Part(*address, part.rows, part.rest_norm, part.level_norm)
            for address, part in zip(addresses, parts, strict=True)
        ]
        self._records = (_Part * len(records))(*records)
        self._rows = (_Rows * 2)(*(_Rows(_address(matrix), len(matrix), matrix.strides[0]) for matrix in matrices))
        self._dim, self._threads = matrices[0].shape[1], threads
        self._backwards = False
        self._open_gate()
        call_in_child(self, NativeScan._open_gate)

    def _open_gate(self) -> None:
        """Make a new gate; a child makes its own, since the threads that it lacks may have held the old one."""
        self._gate = self._library.clipshelf_gate_new()
        weakref.finalize(self, self._library.clipshelf_gate_free, self._gate).atexit = False

    def __call__(
        self,
        queries: FloatArray,
        terms: tuple[Mask | None, FloatArray | None],
        limit: int,
        results: tuple[FloatArray, Rows],
        workers: Workers | None,
    ) -> list[int]:
        """Find the best k rows of each query.

        - `queries`: (Q, D) float32, all finite.
        - `terms`: which rows are allowed, (N,) bool, at least k of them, None for all; and what is added to the
          products of each row, (N,) float32, None for nothing.
        - `limit`: rows that may be scored for a query, at least k.
        - `results`: scores and row numbers (Q, k), C-contiguous, to be filled: best first, ties by lower row.
        - `workers`: threads that help; None scans in the calling thread.

        Returns the positions of queries without an answer: more rows than `limit` may be among the best, or a score
        lies so near to the edge between two numbers of float32 that its rounding is in doubt. Raises MemoryError.
        """
        queries = np.ascontiguousarray(queries)
        kept_terms = [None if term is None else np.ascontiguousarray(term) for term in terms]
        threads = self._threads if workers else 1
        self._backwards = not self._backwards  # the cache has what was read last
        scan = self._library.clipshelf_scan_new(
            self._kernels,
            self._records,
            len(self._records),
            self._dim,
            _address(queries),
            len(queries),
            *(None if term is None else _address(term) for term in kept_terms),
            results[0].shape[1],
            limit,
            threads,
            self._backwards,
        )
        if not scan:
            raise MemoryError
        try:
            return self._run(scan, results, workers if threads > 1 else None)
        finally:
            self._library.clipshelf_scan_free(scan)

    def _run(self, scan: int, results: tuple[FloatArray, Rows], workers: Workers | None) -> list[int]:
        """Run a scan, and return the positions of queries without an answer."""
        scores, rows = results
        answers = (ctypes.c_int8 * len(scores))()
        gate = self._gate if workers else None
        if workers:
            for _ in range(self._library.clipshelf_gate_open(gate, scan, self._threads - 1)):
                # Help is for other threads: the caller would wait in the gate for the scan that it is to run.
                if not workers.try_submit(self._help, self._gate):
                    break
        self._library.clipshelf_scan_run(scan, gate, self._rows, _address(scores), _address(rows), answers)
        without = [position for position, answer in enumerate(answers) if answer]
        if any(answers[position] == _NO_MEMORY for position in without):
            raise MemoryError
        return without

    def _help(self, gate: int) -> None:
        if gate == self._gate:  # not that of a parent process
            self._library.clipshelf_gate_help(gate, WAIT_MICROSECONDS)


def can_scan(matrix: FloatArray) -> bool:
    """Whether the library can read the rows of a matrix (N, D) as they lie, and sum their levels."""
    return 0 < matrix.shape[1] <= LARGEST_DIM and matrix.strides[1] == matrix.itemsize and matrix.flags.aligned


def _address(array: npt.NDArray[Any]) -> int:
    address: int = array.__array_interface__["data"][0]
    return address
