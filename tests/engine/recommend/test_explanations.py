from __future__ import annotations

import pytest
from clipshelf import Recommender
from support.sample_query import SIGNALS


@pytest.mark.parametrize("diversity", [0.0, 0.4])
def test_contributions_sum_to_the_score_and_name_their_signal(recommender: Recommender, diversity: float) -> None:
    answer = recommender.recommend(**SIGNALS, diversity=diversity)
    for item in answer:
        assert sum(part.value for part in item.contributions) == pytest.approx(item.score, abs=1e-9)
    signals = {(part.signal, part.id) for part in answer[1].contributions if part.signal != "diversity"}
    liked = {("liked", "3"), ("liked", "9"), ("disliked", "4"), ("viewed", "5"), ("rated", "7")}
    assert signals == {("text 1", None), ("text 2", None), ("image", None)} | liked
    assert {part.side for part in answer[1].contributions} <= {"image", "text", None}
    assert any(part.signal == "diversity" for item in answer for part in item.contributions) == bool(diversity)
