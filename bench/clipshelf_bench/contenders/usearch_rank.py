"""usearch: exact search over int8 rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from clipshelf_bench.arrays import Array, FloatArray
from clipshelf_bench.contenders.base import Call, Contender, Job, K


class UsearchExact(Contender):
    """search(..., exact=True) on rows scaled to int8."""

    name = "usearch-i8"
    about = "usearch exact search, int8"
    requires = ("usearch",)
    needs_checkpoint = False

    def openers(self) -> Mapping[str, Callable[[Job], Call]]:
        """Ranking alone."""
        return {"rank": self.rank}

    def rank(self, job: Job) -> Call:
        """Search the rows of the matrix."""
        from usearch.compiled import MetricKind
        from usearch.index import search

        rows = _int8(job.rows())

        def call(queries: FloatArray) -> Array:
            found = search(rows, _int8(queries), K, MetricKind.Cos, exact=True, threads=job.threads)
            return np.atleast_2d(found.keys).astype(np.int64)

        return call


def _int8(rows: FloatArray) -> npt.NDArray[np.int8]:
    """Rows scaled to -127..127 each; cosine does not see the scale."""
    return np.asarray(np.rint(rows * (127 / np.abs(rows).max(axis=1, keepdims=True))), dtype=np.int8)
