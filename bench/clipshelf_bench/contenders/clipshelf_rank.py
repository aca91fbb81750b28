"""clipshelf's exact ranker alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar

import numpy as np

from clipshelf_bench.contenders.base import TOP_K, Call, Contender, Job, Task


class ClipshelfRank(Contender):
    """The ranker in its default precision."""

    name: ClassVar[str] = "clipshelf-rank"
    description = "clipshelf Ranker, exact, int8 scan"
    precision: ClassVar[str] = "auto"
    needs_checkpoint = False

    def tasks(self) -> Mapping[Task, Callable[[Job], Call]]:
        """Ranking only."""
        return {"rank": self.rank}

    def rank(self, job: Job) -> Call:
        """Search the rows of the matrix."""
        from clipshelf import Ranker

        ranker = Ranker(job.load_matrix(), self.precision, threads=job.threads)
        return lambda queries: np.asarray(ranker.top_k(queries, TOP_K)[1])


class ClipshelfRankFloat(ClipshelfRank):
    """The same answers from a scan in float32."""

    name = "clipshelf-rank-fp32"
    description = "clipshelf Ranker, exact, fp32 scan"
    precision = "fp32"
