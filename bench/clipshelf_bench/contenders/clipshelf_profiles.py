"""clipshelf for many shoppers: from their likes to the best products, in one call or in one call each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from clipshelf_bench.arrays import Array, Rows
from clipshelf_bench.contenders.base import TOP_K, Call, Contender, Job, Task
from clipshelf_bench.contenders.clipshelf_runtime import catalogue_of_matrix

if TYPE_CHECKING:
    from clipshelf import Profile, Recommendations, Recommender


class ClipshelfOneByOne(Contender):
    """One call of `recommend` for each profile."""

    name: ClassVar[str] = "clipshelf, one by one"
    description = "Recommender.recommend for each profile"
    needs_checkpoint = False

    def tasks(self) -> Mapping[Task, Callable[[Job], Call]]:
        """Profiles only."""
        return {"profiles": self.profiles}

    def profiles(self, job: Job) -> Call:
        """Recommend with the embedded default, whose D the matrix (N, 2D) has."""
        from clipshelf import Engine, Profile, Recommender

        engine = Engine.load(threads=job.threads)
        recommender = Recommender(engine, catalogue_of_matrix(job, engine))

        def call(liked: Rows) -> Array:
            answers = self.recommend(recommender, [Profile(liked=map(str, rows)) for rows in liked.tolist()])
            return np.array([[int(item.id) for item in answer] for answer in answers])

        return call

    def recommend(self, recommender: Recommender, profiles: list[Profile]) -> list[Recommendations]:
        """The answer to each profile."""
        return [recommender.recommend(profile=profile, k=TOP_K) for profile in profiles]


class ClipshelfBatch(ClipshelfOneByOne):
    """One call of `recommend_batch` for all profiles."""

    name: ClassVar[str] = "clipshelf, at once"
    description = "Recommender.recommend_batch for all profiles"

    def recommend(self, recommender: Recommender, profiles: list[Profile]) -> list[Recommendations]:
        """The answer to each profile."""
        return recommender.recommend_batch(profiles, k=TOP_K)
