"""faiss: the exact flat index, and scalar quantisation to 8 bits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from clipshelf_bench.arrays import FloatArray
from clipshelf_bench.contenders.base import Call, Contender, Job, K

_TRAINING_ROWS = 10_000


class FaissFlat(Contender):
    """IndexFlatIP."""

    name = "faiss-flat"
    about = "faiss IndexFlatIP, fp32"
    requires = ("faiss",)
    needs_checkpoint = False

    def openers(self) -> Mapping[str, Callable[[Job], Call]]:
        """Ranking alone."""
        return {"rank": self.rank}

    def index(self, rows: FloatArray) -> Any:
        """An index of the rows."""
        import faiss

        index = faiss.IndexFlatIP(rows.shape[1])
        index.add(rows)
        return index

    def rank(self, job: Job) -> Call:
        """Search the rows of the matrix."""
        import faiss

        faiss.omp_set_num_threads(job.threads)
        index = self.index(job.rows())
        return lambda queries: np.asarray(index.search(queries, K)[1])


class FaissSq8(FaissFlat):
    """IndexScalarQuantizer, 8 bits, exhaustive."""

    name = "faiss-sq8"
    about = "faiss scalar quantizer, 8 bits"

    def index(self, rows: FloatArray) -> Any:
        """An index of the rows, its ranges trained on the first of them."""
        import faiss

        index = faiss.IndexScalarQuantizer(rows.shape[1], faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT)
        index.train(rows[:_TRAINING_ROWS])
        index.add(rows)
        return index
