from __future__ import annotations

import pytest
from clipshelf import Recommender, Weights
from support.sample_query import COUNT
from support.shelves import KINDS


def test_diversity_is_maximal_marginal_relevance(recommender: Recommender) -> None:
    weights = Weights()
    answer = recommender.recommend("warm", k=8, diversity=0.6)
    fits = {item.id: item.score for item in recommender.recommend("warm", k=COUNT)}
    like = {
        id_: {item.id: item.score for item in recommender.recommend(liked=[id_], k=COUNT, weights=weights)}
        for id_ in fits
    }
    remaining, chosen = dict(fits), list[str]()
    for item in answer:
        marginal = {id_: fit - 0.6 * max([0.0, *(like[c][id_] for c in chosen)]) for id_, fit in remaining.items()}
        best = max(marginal, key=lambda id_: marginal[id_])
        assert item.id == best and item.score == pytest.approx(marginal[best], abs=1e-9)
        chosen.append(best)
        del remaining[best]
    plain = [item.id for item in recommender.recommend("warm", k=8)]
    assert len({int(id_) % KINDS for id_ in chosen}) > len({int(id_) % KINDS for id_ in plain})
