from __future__ import annotations

import pytest
from clipshelf import Catalogue, Engine, Recommender
from support.sample_query import DIM
from support.shelves import KINDS, clustered, shelf


def test_more_like_this_leaves_out_this(recommender: Recommender) -> None:
    answer = recommender.recommend(liked=["8"], k=10)
    assert "8" not in {item.id for item in answer}
    assert all(int(item.id) % KINDS == 2 for item in answer)


def test_filters_and_exclusions(engine: Engine, colours: Catalogue) -> None:
    recommender = Recommender(engine, colours)
    assert [item.id for item in recommender.recommend("red", where={"price": {">": 5}})] != []
    assert {item.id for item in recommender.recommend("red", where="price > 5")} == {"green", "blue"}
    assert {item.id for item in recommender.recommend("red", exclude=["red"])} == {"green", "blue"}
    assert len(recommender.recommend("red", where="price>5", exclude=["green", "blue"])) == 0


@pytest.mark.parametrize("k", [99, 10**20])
def test_k_past_the_catalogue_gives_all(engine: Engine, colours: Catalogue, k: int) -> None:
    assert len(Recommender(engine, colours).recommend(text="red", k=k)) == 3
    assert len(Recommender(engine, colours).recommend(text="red", k=k, diversity=0.5)) == 3


def test_a_long_list_of_exclusions(wide_engine: Engine) -> None:
    count = 3000
    recommender = Recommender(wide_engine, shelf(wide_engine, clustered(count, DIM)))
    excluded = [str(row) for row in range(count) if row % 7]
    answers = recommender.recommend_batch([{"text": "warm", "exclude": excluded, "k": 9}, {"text": "warm", "k": 9}])
    assert all(int(item.id) % 7 == 0 for item in answers[0]) and len(answers[0]) == 9
    assert len(answers[1]) == 9
