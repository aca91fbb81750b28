"""Plain NumPy, as most scripts rank."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from clipshelf_bench.arrays import Array, FloatArray
from clipshelf_bench.contenders.base import Call, Contender, Job, K


class NumpyRank(Contender):
    """One matmul, argpartition, a sort of k."""

    name = "numpy"
    about = "NumPy matmul + argpartition, fp32"
    needs_checkpoint = False

    def openers(self) -> Mapping[str, Callable[[Job], Call]]:
        """Ranking alone."""
        return {"rank": self.rank}

    def rank(self, job: Job) -> Call:
        """Search the rows of the matrix."""
        matrix = job.rows()

        def call(queries: FloatArray) -> Array:
            scores = queries @ matrix.T
            best = np.argpartition(scores, -K, axis=1)[:, -K:]
            order = np.argsort(-np.take_along_axis(scores, best, axis=1), axis=1)
            return np.take_along_axis(best, order, axis=1)

        return call
