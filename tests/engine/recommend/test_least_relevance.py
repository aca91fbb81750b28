"""The least relevance where boosts order the products otherwise, against brute force in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from clipshelf import Engine, Recommender
from support import oracle
from support.sample_query import DIM
from support.shelves import clustered, shelf_with

COUNT = 600


@pytest.mark.parametrize("extra", [{}, {"exclude": ["0", "5", "12"]}, {"where": "price<400"}, {"group_by": "kind"}])
@pytest.mark.parametrize("boost", [{"price": 9.0}, {"price": -9.0}, {"price": 0.3, "rare": -4.0}])
def test_boosts_order_the_products_of_the_least_relevance_and_bring_no_others(
    wide_engine: Engine, extra: dict[str, Any], boost: dict[str, float]
) -> None:
    records = [{"rare": not row % 100, "price": row, "kind": row % 40} for row in range(COUNT)]
    shop = Recommender(wide_engine, shelf_with(wide_engine, clustered(COUNT, DIM), records))
    scores = oracle.cosine_scores(shop, liked={"7": 1.0})
    excluded = {7, *map(int, extra.get("exclude", ()))}
    limit = 400 if "where" in extra else COUNT
    allowed = np.array([row for row in range(limit) if row not in excluded])
    relevances = np.array([oracle.relevance(scores, scores[row], len(allowed)) for row in allowed])
    added = sum(
        weight * np.array([2 * np.mean([(v < w) + (v == w) / 2 for v in values]) - 1 for w in values])
        for name, weight in boost.items()
        for values in [np.array([float(record[name]) for record in records])]
    )
    # From one relevant product to nearly all; halfway between two, where the sample's precision does not matter.
    for relevant in (1, 3, 30, 200, len(allowed) - 2):
        ordered = np.sort(relevances)[::-1]
        least = (ordered[relevant - 1] + ordered[relevant]) / 2
        rows = allowed[relevances >= least]
        rows = rows[np.lexsort((rows, -(scores + added)[rows]))]
        if "group_by" in extra:
            rows = rows[np.sort(np.unique(rows % 40, return_index=True)[1])]
        answer = shop.recommend(liked=["7"], k=10, boost=boost, min_relevance=float(least), **extra)
        assert [int(item.id) for item in answer] == rows[:10].tolist()
