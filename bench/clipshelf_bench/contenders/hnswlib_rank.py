"""hnswlib: an approximate graph index, for what exactness costs. Building it takes minutes for a million rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from clipshelf_bench.arrays import Array, FloatArray
from clipshelf_bench.contenders.base import Call, Contender, Job, K

MOST_ROWS = 100_000


class Hnswlib(Contender):
    """M 16, ef_construction 100, ef 64."""

    name = "hnswlib"
    about = "hnswlib HNSW, fp32, approximate"
    quick = False
    requires = ("hnswlib",)
    needs_checkpoint = False

    def openers(self) -> Mapping[str, Callable[[Job], Call]]:
        """Ranking alone."""
        return {"rank": self.rank}

    def rank(self, job: Job) -> Call:
        """Search the rows of the matrix; ValueError where building the graph would take too long."""
        import hnswlib

        if job.count > MOST_ROWS:
            raise ValueError(f"its graph takes minutes to build past {MOST_ROWS} products")
        rows = job.rows()
        index = hnswlib.Index(space="ip", dim=rows.shape[1])
        index.init_index(max_elements=len(rows), M=16, ef_construction=100, random_seed=0)
        index.add_items(rows)
        index.set_ef(64)
        index.set_num_threads(job.threads)

        def call(queries: FloatArray) -> Array:
            return np.asarray(index.knn_query(queries, k=K)[0], dtype=np.int64)

        return call
