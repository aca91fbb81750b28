"""Retrieval on pictures that the embedded model never saw: Tux Paint's stamps, a picture and a sentence each.

`tastes` goes on with what the recommender makes of the same pictures. n pictures, m different sentences. Picture to
sentence: the row of a picture's own sentence among m. Sentence to picture: any of the pictures that carry the sentence
among n. Intervals resample pictures.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from clipshelf import Engine

from clipshelf_bench.arrays import FloatArray
from clipshelf_bench.datasets import stamps as held_out
from clipshelf_bench.datasets.cache import cache_folder
from clipshelf_bench.datasets.debian import debian_package
from clipshelf_bench.parts.tastes import markets, taste_tables
from clipshelf_bench.result import Table
from clipshelf_bench.setup import Setup

KS = (1, 5, 10)
_ROUNDS = 2000


def quality(setup: Setup) -> list[Table]:
    """Recall and recommendations of the embedded default, or of another artifact, on pictures that it never saw."""
    tables = []
    for subject in setup.subjects:
        if subject.checkpoint is None:
            root = setup.stamps or debian_package(held_out.PACKAGE, cache_folder())
            engine = Engine.load(subject.artifact, threads=setup.plan.threads)
            tables.append(measure(engine, root))
            if not setup.quick:  # thousands of queries
                tables += taste_tables(engine, markets(engine, root))
    return tables


def measure(engine: Engine, root: Path) -> Table:
    """Recall@1, 5 and 10 both ways on the stamps of the unpacked package at `root`."""
    found = held_out.read_stamps(root)
    sentences, targets = held_out.sentence_targets(found)
    images = engine.embed_images([stamp.path for stamp in found])
    texts = engine.embed_texts(sentences)
    rows = [_row("picture to sentence", k, _forward(images @ texts.T, targets, k)) for k in KS]
    rows += [_row("sentence to picture", k, _backward(images @ texts.T, targets, k)) for k in KS]
    return Table(
        part="quality",
        title="Retrieval on held-out pictures",
        columns=("direction", "k", "recall", "low", "high", "chance"),
        rows=rows,
        notes=[
            f"{len(found)} pictures and {len(sentences)} different sentences of the Debian package {held_out.PACKAGE}; "
            f"model {engine.fingerprint}, {engine.artifact.manifest.precision}; "
            "low and high bound the 95% bootstrap interval, which resamples pictures."
        ],
    )


def _row(direction: str, k: int, found: tuple[float, float, float, float]) -> dict[str, Any]:
    return {"direction": direction, "k": k, **dict(zip(("recall", "low", "high", "chance"), found, strict=True))}


def _forward(scores: FloatArray, targets: npt.NDArray[np.int64], k: int) -> tuple[float, float, float, float]:
    """Recall, its interval, and chance of scores (n, m) with the own sentence of each picture in targets (n,)."""
    low, high = held_out.recall_interval(scores, targets, k, rounds=_ROUNDS)
    return held_out.recall_at(scores, targets, k), low, high, min(1.0, k / scores.shape[1])


def _backward(scores: FloatArray, targets: npt.NDArray[np.int64], k: int) -> tuple[float, float, float, float]:
    """The same from the sentences: a hit is one of the sentence's pictures among the k best. Ties count against."""
    n, m = scores.shape
    hits = picture_hits(scores, targets, k)
    draws = np.random.default_rng(0).integers(0, n, size=(_ROUNDS, n))
    # A draw of pictures weighs each sentence by how many of its pictures were drawn.
    weights = np.zeros((_ROUNDS, m))
    np.add.at(weights, (np.arange(_ROUNDS)[:, None], targets[draws]), 1.0)
    per_sentence = np.bincount(targets, minlength=m)
    weights /= per_sentence
    low, high = np.percentile(weights @ hits / weights.sum(axis=1), [2.5, 97.5])
    chance = float(np.mean([_chance(int(own), n, k) for own in per_sentence]))
    return float(hits.mean()), float(low), float(high), chance


def picture_hits(scores: FloatArray, targets: npt.NDArray[np.int64], k: int) -> npt.NDArray[np.float64]:
    """For scores (n, m): 1.0 where one of the sentence's own pictures is among its k best, else 0.0, as (m,)."""
    m = scores.shape[1]
    own = targets[:, None] == np.arange(m)
    best = np.where(own, scores, -np.inf).max(axis=0)
    better = ((scores >= best) & ~own).sum(axis=0)
    return np.asarray(better < k, dtype=np.float64)


def _chance(own: int, n: int, k: int) -> float:
    """Probability that one of `own` pictures is among k drawn from n."""
    missed = 1.0
    for i in range(min(k, n)):
        missed *= max(0, n - own - i) / (n - i)
    return 1.0 - missed
