"""Fits a shop's relevance curve to its own queries and what was clicked, and says how much better it tells.

A query counts as found where a clicked product is among the k answered. The evidence of the best product of the answer
is the one input of the curve (`clipshelf.catalogue.relevance_curve`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np

from clipshelf.catalogue.relevance_curve import RelevanceCurve, evidence
from clipshelf.display import describe
from clipshelf.errors import InputError
from clipshelf.failures import Failure, OnError, attempt, check_on_error, handle
from clipshelf.recommend.arguments import check_iterable, check_product_id
from clipshelf.recommend.query import Query
from clipshelf.recommend.recommender import Recommender
from clipshelf.types import DoubleArray, Mask

MIN_QUERIES, MIN_OF_EACH = 30, 5
_FOLDS = 5
_BINS = 10
_STEPS = 100  # of Newton's method, which takes about ten
_CLICKED = "clicked"


@dataclass(frozen=True)
class RelevanceFit:
    """A fitted curve, and how well relevances tell what is found from what is not.

    - `curve`: fitted to all queries.
    - `queries`, `found`: numbers of queries, and of those whose answer has a clicked product.
    - `auc`: probability that the best relevance is higher where a clicked product was found; the curve keeps it.
    - `error_before`, `error_after`: expected calibration error, the mean distance between relevances and shares found,
      over ten bins of equally many queries. The second one is that of curves fitted to the other four fifths.
    """

    curve: RelevanceCurve
    queries: int
    found: int
    auc: float
    error_before: float
    error_after: float

    def to_dict(self) -> dict[str, Any]:
        """The fit as a JSON object (docs/json.md)."""
        return asdict(self)


def fit_relevance(
    recommender: Recommender, records: Iterable[Mapping[str, Any]], *, k: int = 10, on_error: OnError = "raise"
) -> RelevanceFit:
    """Fit the relevance curve of a catalogue to queries and what was clicked.

    - `recommender`: of the catalogue; its present curve is left out.
    - `records`: queries as docs/json.md describes them, each with a field `clicked`: an id, several, or nothing.
    - `k`: for queries that do not say theirs.
    - `on_error`: the error policy for a record that is no query, or whose clicked products the catalogue lacks.

    Raises InputError for records that cannot be used, for fewer than 30, for fewer than 5 that were found or not found,
    and where relevance is not higher for those that were found.
    """
    check_on_error(on_error)
    queries, clicks = _read(recommender, records, k, on_error)
    raw = _uncalibrated(recommender)
    failed: set[int] = set()

    def report(failure: Failure) -> None:
        position, _ = clicks[failure.index]
        failed.add(failure.index)
        handle(on_error, position, f"query {position}", InputError(f"query {position}: {failure.reason}"))

    answers = raw.recommend_batch(queries, k, on_error=report)
    outcomes = [
        (max((item.relevance for item in answer), default=0.0), any(item.id in clicked for item in answer))
        for i, (answer, (_, clicked)) in enumerate(zip(answers, clicks, strict=True))
        if i not in failed
    ]
    relevance = np.array([value for value, _ in outcomes], np.float64)
    return fit_outcomes(relevance, np.array([found for _, found in outcomes], np.bool_))


def fit_outcomes(relevance: DoubleArray, found: Mask) -> RelevanceFit:
    """Fit a curve to the best relevance (n,) of n answers, and whether each held what was looked for (n,)."""
    hits, count = int(found.sum()), len(found)
    if count < MIN_QUERIES or min(hits, count - hits) < MIN_OF_EACH:
        raise InputError(
            f"queries: expected at least {MIN_QUERIES}, and {MIN_OF_EACH} of them with and without a clicked product "
            f"in the answer, found {hits} with and {count - hits} without"
        )
    curve = _fit(relevance, found)
    held_out = np.empty(count)
    fold = np.random.default_rng(0).permutation(count) % _FOLDS
    for number in range(_FOLDS):
        test = fold == number
        held_out[test] = _fit(relevance[~test], found[~test])(relevance[test])
    return RelevanceFit(
        curve,
        count,
        hits,
        area_under_curve(relevance, found),
        calibration_error(relevance, found),
        calibration_error(held_out, found),
    )


def area_under_curve(scores: DoubleArray, found: Mask) -> float:
    """Probability that a score of what was found is above one of what was not; ties count half."""
    ordered = np.sort(scores[~found])
    below = np.searchsorted(ordered, scores[found], side="left") + np.searchsorted(ordered, scores[found], side="right")
    return float(below.mean() / (2 * len(ordered)))


def calibration_error(probabilities: DoubleArray, found: Mask) -> float:
    """Expected calibration error: mean over bins of equally many items of |mean probability - share found|."""
    order = np.argsort(probabilities, kind="stable")
    bins = np.array_split(order, min(_BINS, len(order)))
    gaps = [abs(probabilities[items].mean() - found[items].mean()) * len(items) for items in bins]
    return float(sum(gaps) / len(order))


def _read(
    recommender: Recommender, records: Iterable[Mapping[str, Any]], k: int, on_error: OnError
) -> tuple[list[Query], list[tuple[int, frozenset[str]]]]:
    """The queries, and for each its position and what was clicked."""
    queries: list[Query] = []
    clicks: list[tuple[int, frozenset[str]]] = []
    for position, record in enumerate(check_iterable("queries", records)):
        parsed = attempt(partial(_parse, recommender, record, k))
        if isinstance(parsed, InputError):
            handle(on_error, position, f"query {position}", InputError(f"query {position}: {parsed}"))
        else:
            queries.append(parsed[0])
            clicks.append((position, parsed[1]))
    return queries, clicks


def _parse(recommender: Recommender, record: Any, k: int) -> tuple[Query, frozenset[str]]:
    if isinstance(record, InputError):
        raise record
    if not isinstance(record, Mapping) or _CLICKED not in record:
        found = describe(dict(record)) if isinstance(record, Mapping) else type(record).__name__
        raise InputError(f"expected an object with the fields of a query and {_CLICKED}, found {found}")
    fields = {name: value for name, value in record.items() if name != _CLICKED and value not in (None, "")}
    clicked = frozenset(check_product_id(_CLICKED, id_) for id_ in _as_list(record[_CLICKED]))
    if clicked and (recommender.catalogue.find(clicked) < 0).all():
        raise InputError(f"{_CLICKED}: expected ids that the catalogue has, found {describe(sorted(clicked))}")
    return Query.from_dict({"k": k, **fields}, allow_paths=True), clicked


def _as_list(value: Any) -> Sequence[Any]:
    if value is None or (isinstance(value, str) and not value):
        return []
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _uncalibrated(recommender: Recommender) -> Recommender:
    """The recommender without a curve."""
    return Recommender(
        recommender.engine,
        recommender.catalogue.with_relevance_curve(None),
        weights=recommender.weights,
        half_life=recommender.half_life,
        gap_correction=recommender.gap_correction,
    )


def _fit(relevance: DoubleArray, found: Mask) -> RelevanceCurve:
    """The curve of the largest likelihood, by Newton's method, with Platt's targets instead of 0 and 1."""
    hits, misses = int(found.sum()), int((~found).sum())
    targets = np.where(found, (hits + 1) / (hits + 2), 1 / (misses + 2))
    inputs = np.stack([evidence(relevance), np.ones(len(found))], axis=1)
    weights = np.array([0.0, np.log((hits + 1) / (misses + 1))])
    for step in _newton_steps(inputs, targets, weights):
        weights += step
    if not weights[0] > 0:
        raise InputError(
            "queries: expected a relevance that is higher where a clicked product was found, found one that is not: "
            "no curve would help"
        )
    return RelevanceCurve(float(weights[0]), float(weights[1]), len(found))


def _newton_steps(inputs: DoubleArray, targets: DoubleArray, weights: DoubleArray) -> Iterator[DoubleArray]:
    """Steps (2,) that the caller adds to `weights` (2,), each at most 1 long, until they hardly change them."""
    for _ in range(_STEPS):
        probabilities = 1 / (1 + np.exp(-np.clip(inputs @ weights, -500, 500)))
        gradient = inputs.T @ (targets - probabilities)
        curvature = inputs.T @ (inputs * (probabilities * (1 - probabilities))[:, None]) + 1e-9 * np.eye(2)
        step: DoubleArray = np.asarray(np.linalg.solve(curvature, gradient), np.float64)
        longest = float(np.abs(step).max())
        yield step / max(1.0, longest)
        if longest < 1e-10:
            return
