"""Retrieval on pictures that the embedded model never saw: Tux Paint's stamps, a picture and a sentence each.

n pictures, m different sentences, fewer than n. From a picture to its sentence among m, and from a sentence to any of
its pictures among n. Intervals resample pictures. `recommendation_quality` measures what the recommender does with the
same pictures.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from clipshelf import Engine

from clipshelf_bench.arrays import DoubleArray, FloatArray
from clipshelf_bench.bench import Bench
from clipshelf_bench.datasets import stamps
from clipshelf_bench.datasets.cache import cache_folder
from clipshelf_bench.datasets.debian import debian_package
from clipshelf_bench.parts.labelled_catalogues import label_catalogues
from clipshelf_bench.parts.recommendation_quality import recommendation_tables
from clipshelf_bench.tables import Table

_KS = (1, 5, 10)
_RESAMPLES = 2000


def quality(bench: Bench) -> list[Table]:
    """Recall and recommendations of the embedded default, or of another artifact, on pictures that it never saw."""
    tables = []
    for subject in bench.subjects:
        if subject.checkpoint is None:
            root = bench.stamps or debian_package(stamps.PACKAGE, cache_folder())
            engine = Engine.load(subject.artifact, threads=bench.options.threads)
            tables.append(retrieval_table(engine, root))
            if not bench.quick:  # thousands of queries
                tables += recommendation_tables(engine, label_catalogues(engine, root))
    return tables


def retrieval_table(engine: Engine, root: Path) -> Table:
    """Recall at 1, 5 and 10 in both directions.

    - `engine`: the model.
    - `root`: the unpacked stamps package.

    Raises FileNotFoundError when `root` holds no stamps.
    """
    pictures = stamps.read_stamps(root)
    sentences, targets = stamps.sentence_targets(pictures)
    images = engine.embed_images([stamp.path for stamp in pictures])
    texts = engine.embed_texts(sentences)
    scores = images @ texts.T
    rows = [_row("picture to sentence", k, _picture_to_sentence(scores, targets, k)) for k in _KS]
    rows += [_row("sentence to picture", k, _sentence_to_picture(scores, targets, k)) for k in _KS]
    note = (
        f"{len(pictures)} pictures and {len(sentences)} different sentences of the Debian package {stamps.PACKAGE}; "
        f"model {engine.fingerprint}, {engine.artifact.manifest.precision}; "
        "low and high bound the 95% bootstrap interval, which resamples pictures."
    )
    columns = ("direction", "k", "recall", "low", "high", "chance")
    return Table("quality", "Retrieval on held-out pictures", columns, rows, [note])


def _row(direction: str, k: int, values: tuple[float, float, float, float]) -> dict[str, Any]:
    return {"direction": direction, "k": k, **dict(zip(("recall", "low", "high", "chance"), values, strict=True))}


def _picture_to_sentence(
    scores: FloatArray, targets: npt.NDArray[np.int64], k: int
) -> tuple[float, float, float, float]:
    """Recall, bounds of its interval, and the recall of a random order.

    Scores (n, m) are of pictures and sentences; targets (n,) are the positions of the pictures' sentences.
    """
    low, high = stamps.recall_interval(scores, targets, k, rounds=_RESAMPLES)
    return stamps.recall_at(scores, targets, k), low, high, min(1.0, k / scores.shape[1])


def _sentence_to_picture(
    scores: FloatArray, targets: npt.NDArray[np.int64], k: int
) -> tuple[float, float, float, float]:
    """The same from sentences to pictures; a hit is any of the sentence's pictures."""
    n, m = scores.shape
    hits = picture_hits(scores, targets, k)
    draws = np.random.default_rng(0).integers(0, n, size=(_RESAMPLES, n))
    # A sample of pictures weights each sentence by the share of its pictures that were drawn.
    weights = np.zeros((_RESAMPLES, m))
    np.add.at(weights, (np.arange(_RESAMPLES)[:, None], targets[draws]), 1.0)
    pictures_per_sentence = np.bincount(targets, minlength=m)
    weights /= pictures_per_sentence
    low, high = np.percentile(weights @ hits / weights.sum(axis=1), [2.5, 97.5])
    chance = float(np.mean([_chance(int(count), n, k) for count in pictures_per_sentence]))
    return float(hits.mean()), float(low), float(high), chance


def picture_hits(scores: FloatArray, targets: npt.NDArray[np.int64], k: int) -> DoubleArray:
    """Whether each sentence finds one of its pictures among its k best; a tie counts against it.

    - `scores`: (n, m) of pictures and sentences.
    - `targets`: (n,) positions of the pictures' sentences.
    - `k`: number of results.

    Returns (m,) of 1.0 and 0.0.
    """
    is_target = targets[:, None] == np.arange(scores.shape[1])
    best = np.where(is_target, scores, -np.inf).max(axis=0)
    better = ((scores >= best) & ~is_target).sum(axis=0)
    return np.asarray(better < k, dtype=np.float64)


def _chance(targets: int, n: int, k: int) -> float:
    """Probability that at least one of `targets` pictures is among k drawn from n without replacement."""
    missed = 1.0
    for i in range(min(k, n)):
        missed *= max(0, n - targets - i) / (n - i)
    return 1.0 - missed
