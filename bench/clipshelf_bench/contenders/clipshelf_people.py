"""Ours for many people: their likes to the best products of a catalogue, in one call or in one for each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from clipshelf_bench.arrays import Array, Rows
from clipshelf_bench.contenders.base import Call, Contender, Job, K


class PeopleOneByOne(Contender):
    """`recommend` for each person."""

    name: ClassVar[str] = "clipshelf, one by one"
    about = "Recommender.recommend for each profile"
    needs_checkpoint = False

    def openers(self) -> Mapping[str, Callable[[Job], Call]]:
        """Profiles only."""
        return {"profiles": self.profiles}

    def profiles(self, job: Job) -> Call:
        """Liked rows (Q, L) of a catalogue whose products the matrix (N, 2D) embeds to rows (Q, k)."""
        from clipshelf import Catalogue, Engine, Profile, Recommender
        from clipshelf.catalogue.contents import contents_of_rows

        engine = Engine.load(threads=job.threads)
        recommender = Recommender(engine, Catalogue(contents_of_rows(job.rows()), engine.fingerprint, Path()))

        def call(liked: Rows) -> Array:
            answers = self.answer(recommender, [Profile(liked=map(str, row)) for row in liked.tolist()])
            return np.array([[int(item.id) for item in answer] for answer in answers])

        return call

    def answer(self, recommender: Any, people: list[Any]) -> list[Any]:
        """Recommendations for each."""
        return [recommender.recommend(profile=person, k=K) for person in people]


class PeopleAtOnce(PeopleOneByOne):
    """`recommend_batch` for all."""

    name: ClassVar[str] = "clipshelf, at once"
    about = "Recommender.recommend_batch for all profiles"

    def answer(self, recommender: Any, people: list[Any]) -> list[Any]:
        """Recommendations for each."""
        answers: list[Any] = recommender.recommend_batch(people, k=K)
        return answers
