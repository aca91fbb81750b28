"""Runs contenders on sessions, and compares them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from clipshelf.catalogue.catalogue import Catalogue
from clipshelf.errors import InputError
from clipshelf.evaluate.bootstrap import (
    RESAMPLES,
    Estimate,
    centred_estimate,
    percentile_estimate,
    resampled_coverage,
    resampled_means,
    resamples,
)
from clipshelf.evaluate.contenders import Contender, Popularity
from clipshelf.evaluate.metrics import SESSION_METRICS, coverage, padded, self_information, session_metrics
from clipshelf.evaluate.sessions import Session
from clipshelf.types import DoubleArray, Progress, Rows

MIN_SESSIONS = 10


@dataclass(frozen=True)
class Evaluation:
    """What was measured.

    - `k`, `sessions`, `products`: length of a list, and numbers of sessions and products.
    - `metrics`: by contender and by name of the metric, each with its interval.
    - `differences`: the same less the first contender, paired by session; an interval without 0 is a difference that
      chance does not explain.
    - `weights`: those that a search found on other sessions, None without a search.
    """

    k: int
    sessions: int
    products: int
    metrics: Mapping[str, Mapping[str, Estimate]]
    differences: Mapping[str, Mapping[str, Estimate]]
    weights: Mapping[str, float] | None = None

    def to_dict(self) -> dict[str, Any]:
        """The evaluation as a JSON object (docs/evaluate.md)."""
        return asdict(self)


def evaluate(
    contenders: Mapping[str, Contender],
    sessions: Sequence[Session],
    catalogue: Catalogue,
    *,
    k: int = 10,
    seed: int = 0,
    resample_count: int = RESAMPLES,
    progress: Progress | None = None,
) -> Evaluation:
    """Measure contenders on the same sessions.

    - `contenders`: by name; the first is what the others are compared with.
    - `sessions`: at least ten.
    - `catalogue`: the products that coverage and novelty refer to.
    - `k`: products that each recommends.
    - `seed`, `resample_count`: of the bootstrap.
    - `progress`: called with the number of contenders done and of all.

    Raises InputError for fewer sessions, and for no contender.
    """
    check_sessions(sessions)
    if not contenders:
        raise InputError("contenders: expected at least one, found none")
    targets = padded([catalogue.find(sorted(session.targets)).tolist() for session in sessions])
    popularity = Popularity(catalogue, sessions)
    information = self_information(np.array([popularity.counts[id_] for id_ in catalogue.ids], np.float64))
    draws = resamples(len(sessions), seed, resample_count)
    metrics: dict[str, dict[str, Estimate]] = {}
    means: dict[str, tuple[DoubleArray, DoubleArray]] = {}
    for number, (name, contender) in enumerate(contenders.items()):
        ranked = _rows(contender.rank(sessions, k), catalogue)
        values = session_metrics(ranked, targets, information, k)
        means[name] = values.mean(axis=0), resampled_means(values, draws)
        metrics[name] = _estimates(*means[name])
        metrics[name]["coverage"] = centred_estimate(
            coverage(ranked, len(catalogue)), resampled_coverage(ranked, draws, len(catalogue))
        )
        if progress is not None:
            progress(number + 1, len(contenders))
    (reference, reference_samples), *_ = means.values()
    differences = {
        name: _estimates(value - reference, samples - reference_samples)
        for name, (value, samples) in list(means.items())[1:]
    }
    return Evaluation(k, len(sessions), len(catalogue), metrics, differences)


def check_sessions(sessions: Sequence[Session]) -> None:
    """Raise InputError where there are too few sessions to say anything."""
    if len(sessions) < MIN_SESSIONS:
        raise InputError(f"sessions: expected at least {MIN_SESSIONS} that can be used, found {len(sessions)}")


def _estimates(value: DoubleArray, samples: DoubleArray) -> dict[str, Estimate]:
    return {name: percentile_estimate(float(value[i]), samples[:, i]) for i, name in enumerate(SESSION_METRICS)}


def _rows(lists: Sequence[Sequence[str]], catalogue: Catalogue) -> Rows:
    """Lists of ids as (S, n) rows; ids that the catalogue does not have are -1."""
    flat = catalogue.find([id_ for ids in lists for id_ in ids]).tolist()
    starts = np.cumsum([0, *map(len, lists)]).tolist()
    return padded([flat[start:stop] for start, stop in pairwise(starts)])
