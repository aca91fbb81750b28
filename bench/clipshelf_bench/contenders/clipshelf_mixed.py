"""clipshelf under a mix of calls, as a service receives them; `parts.soak` runs it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from clipshelf_bench.arrays import Array
from clipshelf_bench.contenders.base import TOP_K, Call, Job, Task
from clipshelf_bench.contenders.clipshelf_runtime import Clipshelf, catalogue_of_matrix

MAX_TEXTS, MAX_PHOTOS = 32, 16
# One of these is drawn for each call.
_KINDS = ("sentence",) * 4 + ("query",) * 3 + ("texts",) * 2 + ("photos",)
# Share of the texts that are longer than the model's context.
_LONG_SHARE = 0.25
_SEED = 17


class ClipshelfMixed(Clipshelf):
    """The artifact in its default precision; every call is drawn from the mix."""

    def tasks(self) -> Mapping[Task, Callable[[Job], Call]]:
        """The mix only."""
        return {"mixed": self.mixed}

    def mixed(self, job: Job) -> Call:
        """Draw a sentence, a batch of texts or photos, or a query against a catalogue of the matrix (N, 2D)."""
        from clipshelf import Recommender

        engine = self.load_once(job, self._engine)
        recommender = Recommender(engine, catalogue_of_matrix(job, engine))
        rng = np.random.default_rng(_SEED)

        def call(photos: list[bytes]) -> Array:
            kind = _KINDS[int(rng.integers(len(_KINDS)))]
            if kind == "query":
                answer = recommender.recommend(_texts(rng, 1), photos[int(rng.integers(len(photos)))], k=TOP_K)
                return np.array([[int(item.id) for item in answer]])
            if kind == "photos":
                drawn = rng.integers(0, len(photos), _batch_size(rng, MAX_PHOTOS))
                return engine.embed_images([photos[i] for i in drawn])
            return engine.embed_texts(_texts(rng, _batch_size(rng, MAX_TEXTS) if kind == "texts" else 1))

        return call


def _texts(rng: np.random.Generator, count: int) -> list[str]:
    """Texts of one sentence, and among them reviews of 10 to 39 sentences."""
    from clipshelf_bench.datasets.inputs import random_sentences

    lengths = np.where(rng.random(count) < _LONG_SHARE, rng.integers(10, 40, count), 1)
    return [". ".join(random_sentences(int(length), int(rng.integers(2**31)))) for length in lengths]


def _batch_size(rng: np.random.Generator, largest: int) -> int:
    """1 to `largest`, log-uniform: a size is half as likely as half of it."""
    return min(largest, int(np.exp(rng.uniform(0, np.log(largest + 1)))))
