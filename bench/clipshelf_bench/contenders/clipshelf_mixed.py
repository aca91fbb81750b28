"""Ours under a mix of calls, as a service gets them; `parts/soak.py` runs it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from clipshelf_bench.arrays import Array
from clipshelf_bench.contenders.base import Call, Job, K
from clipshelf_bench.contenders.clipshelf_runtime import Clipshelf

MOST_TEXTS, MOST_PHOTOS = 32, 16
# Of ten calls; each batch of so many is as likely as each of twice as many.
_KINDS = ("sentence",) * 4 + ("query",) * 3 + ("texts",) * 2 + ("photos",)
_LONG = 0.25  # share of the reviews that are longer than the model's context
_SEED = 17


class ClipshelfMixed(Clipshelf):
    """The artifact in its default precision; one of the mix at each call."""

    def openers(self) -> Mapping[str, Callable[[Job], Call]]:
        """Only the mix."""
        return {"mixed": self.mixed}

    def mixed(self, job: Job) -> Call:
        """Encoded pictures to draw from -> what one call of the mix answers, over a catalogue (N, 2D)."""
        from clipshelf import Catalogue, Recommender
        from clipshelf.catalogue.contents import contents_of_rows

        from clipshelf_bench.datasets.inputs import sentences

        engine = self.once(job, self._engine)
        recommender = Recommender(engine, Catalogue(contents_of_rows(job.rows()), engine.fingerprint, Path()))
        rng = np.random.default_rng(_SEED)

        def texts(count: int) -> list[str]:
            lengths = np.where(rng.random(count) < _LONG, rng.integers(10, 40, count), 1)
            return [". ".join(sentences(int(length), int(rng.integers(2**31)))) for length in lengths]

        def call(photos: list[bytes]) -> Array:
            kind = _KINDS[int(rng.integers(len(_KINDS)))]
            if kind == "query":
                answer: Any = recommender.recommend(texts(1), photos[int(rng.integers(len(photos)))], k=K)
                return np.array([[int(item.id) for item in answer]])
            if kind == "photos":
                picked = rng.integers(0, len(photos), _many(rng, MOST_PHOTOS))
                return engine.embed_images([photos[i] for i in picked])  # type: ignore[no-any-return]
            return engine.embed_texts(texts(_many(rng, MOST_TEXTS) if kind == "texts" else 1))  # type: ignore[no-any-return]

        return call


def _many(rng: np.random.Generator, most: int) -> int:
    """1 to `most`, log-uniform."""
    return min(most, int(np.exp(rng.uniform(0, np.log(most + 1)))))
