from __future__ import annotations

import numpy as np
from clipshelf import Recommendations, Recommender
from support.sample_query import COUNT, DAY, NOW
from support.shelves import KINDS


def test_more_likes_of_a_kind_bring_more_of_that_kind(recommender: Recommender) -> None:
    liked = ["0"]
    shares = []
    for others in ([], ["1"], ["1", "7"], ["1", "7", "13"]):
        answer = recommender.recommend(liked=liked + others, k=20)
        shares.append(sum(int(item.id) % KINDS == 1 for item in answer))
    assert shares == sorted(shares) and shares[0] < shares[-1]
    beside_a_text = [
        recommender.recommend("warm", liked=[(id_, 1) for id_ in ids], k=COUNT) for ids in (["1"], ["1", "7", "13"])
    ]
    one_like, three_likes = (np.mean([item.score for item in a if int(item.id) % KINDS == 1]) for a in beside_a_text)
    assert three_likes > one_like


def test_dislikes_push_away(recommender: Recommender) -> None:
    before, after = recommender.recommend("warm", k=COUNT), recommender.recommend("warm", disliked=["1"], k=COUNT)
    assert _mean_rank(after, 1) > _mean_rank(before, 1)
    alone = recommender.recommend(disliked=["1"], k=10)
    assert all(int(item.id) % KINDS != 1 for item in alone)


def test_old_interactions_fade_and_bought_products_can_be_left_out(recommender: Recommender) -> None:
    history = [("0", "bought", NOW - 300 * DAY), ("1", "bought", "2027-01-15T08:00:00Z")]
    answer = recommender.recommend(history=history, now=NOW, k=5)
    assert {int(item.id) % KINDS for item in answer} == {1}
    answer = recommender.recommend(history=history, now=NOW, k=COUNT, exclude_bought=True)
    assert {"0", "1"}.isdisjoint(item.id for item in answer)
    assert {"0", "1"} <= {item.id for item in recommender.recommend(history=history, now=NOW, k=COUNT)}
    slow = Recommender(recommender.engine, recommender.catalogue, half_life=1e6).recommend(
        history=history, now=NOW, k=20
    )
    assert {int(item.id) % KINDS for item in slow} > {1}


def test_weights_and_strengths_act_monotonically(recommender: Recommender) -> None:
    ranks = [
        _mean_rank(recommender.recommend("warm", liked=["2"], weights={"liked": w}, k=COUNT), 2)
        for w in (0.01, 0.1, 1, 10)
    ]
    assert ranks == sorted(ranks, reverse=True) and ranks[0] > ranks[-1]
    ranks = [
        _mean_rank(recommender.recommend("warm", liked=[("2", strength)], k=COUNT), 2)
        for strength in (0.01, 0.3, 2, 50)
    ]
    assert ranks == sorted(ranks, reverse=True) and ranks[0] > ranks[-1]


def _mean_rank(answer: Recommendations, kind: int) -> float:
    return float(np.mean([rank for rank, item in enumerate(answer) if int(item.id) % KINDS == kind]))
