"""usearch: exact search over int8 rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from clipshelf_bench.arrays import Array, FloatArray
from clipshelf_bench.contenders.base import TOP_K, Call, Contender, Job, Task


class UsearchExact(Contender):
    """`search(..., exact=True)` on rows scaled to int8."""

    name = "usearch-i8"
    description = "usearch exact search, int8"
    requires = ("usearch",)
    needs_checkpoint = False

    def tasks(self) -> Mapping[Task, Callable[[Job], Call]]:
        """Ranking only."""
        return {"rank": self.rank}

    def rank(self, job: Job) -> Call:
        """Search the rows of the matrix."""
        from usearch.compiled import MetricKind
        from usearch.index import search

        rows = _int8(job.load_matrix())

        def call(queries: FloatArray) -> Array:
            matches = search(rows, _int8(queries), TOP_K, MetricKind.Cos, exact=True, threads=job.threads)
            return np.atleast_2d(matches.keys).astype(np.int64)

        return call


def _int8(rows: FloatArray) -> npt.NDArray[np.int8]:
    """Rows scaled to -127..127, each by its largest number; a cosine does not depend on the scale."""
    return np.asarray(np.rint(rows * (127 / np.abs(rows).max(axis=1, keepdims=True))), dtype=np.int8)
