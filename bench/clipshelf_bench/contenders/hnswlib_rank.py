"""hnswlib: an approximate graph index, which shows what exactness costs."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from clipshelf_bench.arrays import Array, FloatArray
from clipshelf_bench.contenders.base import TOP_K, Call, Contender, Job, Task

# Building the graph takes minutes for a million rows.
MAX_ROWS = 100_000


class Hnswlib(Contender):
    """An HNSW graph with M 16, ef_construction 100 and ef 64."""

    name = "hnswlib"
    description = "hnswlib HNSW, fp32, approximate"
    quick = False
    requires = ("hnswlib",)
    needs_checkpoint = False

    def tasks(self) -> Mapping[Task, Callable[[Job], Call]]:
        """Ranking only."""
        return {"rank": self.rank}

    def rank(self, job: Job) -> Call:
        """Search the rows of the matrix; ValueError above `MAX_ROWS`."""
        import hnswlib

        if job.count_rows() > MAX_ROWS:
            raise ValueError(f"its graph takes minutes to build past {MAX_ROWS} products")
        rows = job.load_matrix()
        index = hnswlib.Index(space="ip", dim=rows.shape[1])
        index.init_index(max_elements=len(rows), M=16, ef_construction=100, random_seed=0)
        index.add_items(rows)
        index.set_ef(64)
        index.set_num_threads(job.threads)

        def call(queries: FloatArray) -> Array:
            return np.asarray(index.knn_query(queries, k=TOP_K)[0], dtype=np.int64)

        return call
