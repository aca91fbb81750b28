"""NumPy alone, as most scripts rank."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from clipshelf_bench.arrays import Array, FloatArray
from clipshelf_bench.contenders.base import TOP_K, Call, Contender, Job, Task


class NumpyRank(Contender):
    """One matrix product, argpartition, and a sort of the k best."""

    name = "numpy"
    description = "NumPy matmul + argpartition, fp32"
    needs_checkpoint = False

    def tasks(self) -> Mapping[Task, Callable[[Job], Call]]:
        """Ranking only."""
        return {"rank": self.rank}

    def rank(self, job: Job) -> Call:
        """Search the rows of the matrix."""
        matrix = job.load_matrix()

        def call(queries: FloatArray) -> Array:
            scores = queries @ matrix.T
            best = np.argpartition(scores, -TOP_K, axis=1)[:, -TOP_K:]
            order = np.argsort(-np.take_along_axis(scores, best, axis=1), axis=1)
            return np.take_along_axis(best, order, axis=1)

        return call
