"""Searches for good weights on some sessions, so that others can say how good they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict

import numpy as np

from clipshelf.evaluate.contenders import RecommenderContender
from clipshelf.evaluate.metrics import padded, session_metrics
from clipshelf.evaluate.sessions import Session
from clipshelf.recommend.recommender import Recommender

FACTORS = (0.0, 0.25, 0.5, 2.0, 4.0)
_SWEEPS = 2
_MOST_SESSIONS = 1000  # more only take longer: what they would tell apart is within the interval of the report
_OF_SIGNALS = ("text", "image", "liked", "disliked", "history")
_OF_COSINES = ("text_text", "text_image", "image_text", "image_image")
_NDCG = 1


def halves(sessions: Sequence[Session], seed: int = 0) -> tuple[list[Session], list[Session]]:
    """Split sessions by chance in two halves: one to search on, one to report on."""
    order = np.random.default_rng(seed).permutation(len(sessions)).tolist()
    middle = len(order) // 2
    return [sessions[i] for i in order[:middle]], [sessions[i] for i in order[middle:]]


def search_weights(
    recommender: Recommender,
    sessions: Sequence[Session],
    *,
    k: int = 10,
    report: Callable[[str, float], object] | None = None,
) -> dict[str, float]:
    """Find weights with a high NDCG on sessions, from the recommender's own, one weight after another.

    - `recommender`: its weights are the start; each is tried times 0, 1/4, 1/2, 2 and 4, twice over.
    - `sessions`: the first thousand are used.
    - `k`: length of the lists.
    - `report`: called with a name and the NDCG whenever a weight is changed.

    Returns all weights by name. Weights of signals that no session has stay as they are.
    """
    sample = list(sessions[:_MOST_SESSIONS])
    weights: dict[str, float] = asdict(recommender.weights)
    best = _ndcg(recommender, sample, weights, k)
    for _ in range(_SWEEPS):
        before = best
        for name in _searched(sample):
            trials = [weights | {name: weights[name] * factor} for factor in FACTORS if weights[name]]
            for trial in trials:
                value = _ndcg(recommender, sample, trial, k)
                if value > best:
                    best, weights = value, trial
                    if report is not None:
                        report(name, best)
        if best == before:
            break
    return weights


def _searched(sessions: Sequence[Session]) -> list[str]:
    """The weights that can change an answer: those of signals that sessions have, less one, and of the cosines.

    Only ratios count, so one signal's weight stays, and one cosine's.
    """
    used = [name for name in _OF_SIGNALS if any(session.query.get(name) for session in sessions)]
    return [*used[1:], *_OF_COSINES[1:]]


def _ndcg(recommender: Recommender, sessions: Sequence[Session], weights: dict[str, float], k: int) -> float:
    """Mean NDCG; rows stand for ids that are in a target, since no others count."""
    lists = RecommenderContender(recommender, {"weights": weights}).rank(sessions, k)
    number = {id_: i for i, id_ in enumerate(sorted({id_ for session in sessions for id_ in session.targets}))}
    ranked = padded([[number.get(id_, len(number)) for id_ in ids] for ids in lists])
    targets = padded([sorted(number[id_] for id_ in session.targets) for session in sessions])
    return float(session_metrics(ranked, targets, np.zeros(len(number) + 1), k)[:, _NDCG].mean())
