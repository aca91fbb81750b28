from __future__ import annotations

import numpy as np
from clipshelf import Catalogue, Engine, Recommender


def test_each_query_of_a_batch_has_its_own_filter(engine: Engine, colours: Catalogue) -> None:
    other = [1e6] * 1500  # NumPy shortens what it shows of so many
    filters = [{"price": {"in": np.array([*other, *prices, *other])}} for prices in ([5.0], [0.0, 20.0], [10.0])]
    answers = Recommender(engine, colours).recommend_batch([{"text": "warm", "where": where} for where in filters])
    assert [len(answer) for answer in answers] == [0, 2, 1]
