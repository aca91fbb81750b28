"""Does the recommender find products of the same category, in catalogues that the embedded model never saw?

A query comes from one product, which is left out of the answer, or from the likes of a made-up shopper. What is
counted is the share of the ten best products that have the category. Intervals resample queries, and differences are
between answers to the same queries.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
from clipshelf import Engine, Query, Recommendations, Recommender
from clipshelf.errors import InputError
from clipshelf.recommend.relevance_fit import calibration_error, fit_outcomes
from clipshelf.types import Mask

from clipshelf_bench.arrays import DoubleArray
from clipshelf_bench.contenders.base import TOP_K
from clipshelf_bench.parts.labelled_catalogues import CachingEngine, LabelledCatalogue
from clipshelf_bench.stats import bootstrap_interval
from clipshelf_bench.tables import Table, TableRow

_SHARE_COLUMNS = ("catalogue", "query", "scores", "share", "low", "high", "gain", "gain low", "gain high")
_RELEVANCE_COLUMNS = (
    *("catalogue", "query", "AUC", "low", "high"),
    *("there > 0.5", "gone > 0.5", "there > 0.9", "gone > 0.9"),
    *("error", "error, calibrated"),
)
_RELEVANCE_NOTE = (
    "Each query asks the catalogue twice, with and without the products of its taste. AUC: how probably the best "
    "answer's relevance is higher for a query whose taste is there. The others: share of queries whose best answer "
    "has a relevance above 0.5 and 0.9. Error: expected calibration error of the best answer's relevance over ten "
    "bins, as it is and by curves that were fitted to the other four fifths of the queries."
)
# What a query takes from its product, by the name of the query in tables.
_SIDES = {"text": "text", "picture": "image", "text and picture": "both"}
_SHOPPERS = 400
_AUC_RESAMPLES = 200


def recommendation_tables(engine: Engine, catalogues: Sequence[LabelledCatalogue]) -> list[Table]:
    """What products and shoppers find, and whether relevance shows that there is nothing to find.

    - `engine`: the model that embedded the catalogues.
    - `catalogues`: what to recommend from.
    """
    caching = CachingEngine(engine)
    shares: list[TableRow] = []
    relevances: list[TableRow] = []
    for labelled in catalogues:
        corrected, plain = (Recommender(caching, labelled.catalogue, gap_correction=on) for on in (True, False))
        for name, queries, targets in _cases(labelled):
            with_correction, without = (_shares(recommender, queries, targets) for recommender in (corrected, plain))
            shares += [
                _share_row(labelled, name, "corrected", with_correction, without),
                _share_row(labelled, name, "not corrected", without, None),
            ]
        shares += _dislike_rows(labelled, corrected)
        relevances += [_relevance_row(labelled, corrected, name, sides) for name, sides in _SIDES.items()]
    return [
        Table("quality", "Products of a taste among the ten best", _SHARE_COLUMNS, shares, [_share_note(catalogues)]),
        Table(
            "quality", "Does relevance tell whether anything fits?", _RELEVANCE_COLUMNS, relevances, [_RELEVANCE_NOTE]
        ),
    ]


def _share_note(catalogues: Sequence[LabelledCatalogue]) -> str:
    sizes = ", ".join(f"{c.name}: {len(c.catalogue)} products, {len(c.categories)} tastes" for c in catalogues)
    return (
        f"{sizes}. A query is a product's own sentence, picture or both; a shopper likes two products of each of two "
        "tastes; then dislikes the first two wrong answers, compared with only leaving these out. Gain: over the same "
        "queries without gap correction, or without dislikes. Intervals are 95 % bootstrap over queries."
    )


def _cases(labelled: LabelledCatalogue) -> Iterable[tuple[str, list[Query], list[set[str]]]]:
    """Name, queries, and for each query the ids that are right."""
    products = labelled.products
    for name, sides in _SIDES.items():
        targets = [set(labelled.ids(labelled.category_by_id[item["id"]])) - {item["id"]} for item in products]
        yield name, [_product_query(labelled, product, sides) for product in products], targets
    yield "shopper: four likes", *_shopper_queries(labelled)


def _product_query(labelled: LabelledCatalogue, product: dict[str, Any], sides: str) -> Query:
    return Query(
        text=product["text"] if sides != "image" else None,
        image=labelled.catalogue.picture(product) if sides != "text" else None,
        exclude=[product["id"]],
        k=TOP_K,
    )


def _shopper_queries(labelled: LabelledCatalogue) -> tuple[list[Query], list[set[str]]]:
    """Queries of shoppers who like two products of each of two categories, and the other products of these."""
    rng = np.random.default_rng(0)
    queries, targets = [], []
    for _ in range(_SHOPPERS):
        categories = [labelled.ids(name) for name in rng.choice(labelled.categories, 2, replace=False)]
        liked = [id_ for ids in categories for id_ in rng.choice(ids, 2, replace=False).tolist()]
        queries.append(Query(liked=liked, k=TOP_K))
        targets.append({id_ for ids in categories for id_ in ids} - set(liked))
    return queries, targets


def _dislike_rows(labelled: LabelledCatalogue, recommender: Recommender) -> list[TableRow]:
    """Shoppers who dislike the first two wrong products of their answer, and those who leave these out."""
    disliking: list[Query] = []
    excluding: list[Query] = []
    targets: list[set[str]] = []
    queries, right_ids = _shopper_queries(labelled)
    for query, right, answer in zip(queries, right_ids, recommender.recommend_batch(queries), strict=True):
        wrong = [item.id for item in answer if item.id not in right][:2]
        if len(wrong) == 2:
            disliking.append(replace(query, disliked=wrong))
            excluding.append(replace(query, exclude=wrong))
            targets.append(right)
    if not targets:
        return []
    shares, others = (_shares(recommender, queries, targets) for queries in (disliking, excluding))
    return [_share_row(labelled, "shopper: four likes, two dislikes", "corrected", shares, others)]


def _shares(recommender: Recommender, queries: Sequence[Query], targets: Sequence[set[str]]) -> DoubleArray:
    """Right products of each answer (Q,), as a share of the right products that would fit into it."""
    answers = recommender.recommend_batch(queries)
    return np.array([_share(answer, ids) for answer, ids in zip(answers, targets, strict=True)])


def _share(answer: Recommendations, targets: set[str]) -> float:
    return sum(item.id in targets for item in answer) / min(len(answer), len(targets))


def _share_row(
    labelled: LabelledCatalogue, query: str, scores: str, shares: DoubleArray, baseline: DoubleArray | None
) -> TableRow:
    low, high = bootstrap_interval(shares)
    row: dict[str, Any] = {"catalogue": labelled.name, "query": query, "scores": scores}
    row |= {"share": float(shares.mean()), "low": low, "high": high}
    if baseline is not None:
        low, high = bootstrap_interval(shares - baseline)
        row |= {"gain": float((shares - baseline).mean()), "gain low": low, "gain high": high}
    return row


def _relevance_row(labelled: LabelledCatalogue, recommender: Recommender, name: str, sides: str) -> TableRow:
    """How well relevance separates queries whose category is in the catalogue from those whose category is not."""
    present = [_product_query(labelled, product, sides) for product in labelled.products]
    absent = [
        replace(query, exclude=labelled.ids(labelled.category_by_id[product["id"]]))
        for query, product in zip(present, labelled.products, strict=True)
    ]
    there, gone = (
        np.array([answer[0].relevance for answer in recommender.recommend_batch(queries)])
        for queries in (present, absent)
    )
    draws = np.random.default_rng(0).integers(0, len(there), (_AUC_RESAMPLES, len(there)))
    low, high = np.percentile([_auc(there[draw], gone[draw]) for draw in draws], [2.5, 97.5])
    row: dict[str, Any] = {"catalogue": labelled.name, "query": name}
    row |= {"AUC": _auc(there, gone), "low": low, "high": high}
    for threshold in (0.5, 0.9):
        row[f"there > {threshold}"] = round(float((there > threshold).mean()), 3)
        row[f"gone > {threshold}"] = round(float((gone > threshold).mean()), 3)
    return row | _calibration(np.concatenate((there, gone)), np.arange(2 * len(there)) < len(there))


def _calibration(relevance: DoubleArray, is_there: Mask) -> dict[str, Any]:
    """The calibration error before and after a fit, which a model whose relevance says nothing does not allow."""
    row = {"error": round(calibration_error(relevance, is_there), 3), "error, calibrated": None}
    with suppress(InputError):
        row["error, calibrated"] = round(fit_outcomes(relevance, is_there).error_after, 3)
    return row


def _auc(positives: DoubleArray, negatives: DoubleArray) -> float:
    """Area under the ROC curve: the probability that a positive is above a negative, where a tie counts half."""
    above = (positives[:, None] > negatives).mean() + 0.5 * (positives[:, None] == negatives).mean()
    return float(above)
