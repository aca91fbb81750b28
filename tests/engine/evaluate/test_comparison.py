from __future__ import annotations

import numpy as np
import pytest
from clipshelf import Engine, InputError, Recommender
from clipshelf.evaluate.comparison import AnswerChange, Comparison, compare_answers
from support.shelves import clustered, shelf


def test_overlap_and_changes_are_those_of_the_answers(engine: Engine) -> None:
    old = Recommender(engine, shelf(engine, clustered(60, engine.dim)))
    new = Recommender(engine, shelf(engine, clustered(60, engine.dim, seed=3)))
    log = [{"liked": [str(i)], "clicked": str(i + 1)} for i in range(12)]
    comparison = compare_answers(old, new, log, k=5)
    expected = []
    for i in range(12):
        pair = [[item.id for item in each.recommend(liked=[str(i)], k=5)] for each in (old, new)]
        expected.append((len({*pair[0]} & {*pair[1]}) / 5, pair))
    assert comparison.overlap == pytest.approx(np.mean([overlap for overlap, _ in expected]))
    assert [change.overlap for change in comparison.changes] == sorted(overlap for overlap, _ in expected)
    for change in comparison.changes:
        before, after = expected[change.position][1]
        assert change.gone == tuple(id_ for id_ in before if id_ not in after)
        assert change.new == tuple(id_ for id_ in after if id_ not in before)
    assert compare_answers(old, old, log).to_dict()["changes"] == []


def test_numbers_of_a_comparison_that_was_worked_out_by_hand() -> None:
    changes = (
        AnswerChange(0, "a", 0.5, ("1", "2"), ("2", "3")),
        AnswerChange(1, "b", 1.0, ("1", "2"), ("2", "1")),
        AnswerChange(2, "c", 1.0, (), ()),
    )
    comparison = Comparison(2, changes)
    assert comparison.overlap == pytest.approx(2.5 / 3)
    assert comparison.same_best == pytest.approx(1 / 3) and comparison.same_products == pytest.approx(2 / 3)


def test_a_log_without_a_usable_query_is_refused(engine: Engine) -> None:
    recommender = Recommender(engine, shelf(engine, clustered(20, engine.dim)))
    with pytest.raises(InputError, match=r"query 1: expected an object"):
        compare_answers(recommender, recommender, [{"liked": ["1"]}, 7])
    with pytest.raises(InputError, match="expected one that both models can answer"):
        compare_answers(recommender, recommender, [7], on_error=lambda _: None)
