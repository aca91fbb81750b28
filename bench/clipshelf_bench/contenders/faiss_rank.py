"""faiss: the exact flat index, and one of numbers quantised to 8 bits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from clipshelf_bench.arrays import FloatArray
from clipshelf_bench.contenders.base import TOP_K, Call, Contender, Job, Task

_TRAINING_ROWS = 10_000


class FaissFlat(Contender):
    """IndexFlatIP: exact inner products in float32."""

    name = "faiss-flat"
    description = "faiss IndexFlatIP, fp32"
    requires = ("faiss",)
    needs_checkpoint = False

    def tasks(self) -> Mapping[Task, Callable[[Job], Call]]:
        """Ranking only."""
        return {"rank": self.rank}

    def index(self, rows: FloatArray) -> Any:
        """Build an index of the rows (N, D); variants override this."""
        import faiss

        index = faiss.IndexFlatIP(rows.shape[1])
        index.add(rows)
        return index

    def rank(self, job: Job) -> Call:
        """Search the rows of the matrix."""
        import faiss

        faiss.omp_set_num_threads(job.threads)
        index = self.index(job.load_matrix())
        return lambda queries: np.asarray(index.search(queries, TOP_K)[1])


class FaissSq8(FaissFlat):
    """IndexScalarQuantizer: an exhaustive search of 8-bit numbers."""

    name = "faiss-sq8"
    description = "faiss scalar quantizer, 8 bits"

    def index(self, rows: FloatArray) -> Any:
        """Build an index of the rows (N, D), whose ranges the first rows set."""
        import faiss

        index = faiss.IndexScalarQuantizer(rows.shape[1], faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT)
        index.train(rows[:_TRAINING_ROWS])
        index.add(rows)
        return index
