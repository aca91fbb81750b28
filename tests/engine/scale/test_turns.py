"""The order in which replicas take requests."""

from __future__ import annotations

from clipshelf.scale.turns import PASSED_OVER_FOR, Turns


def test_replicas_take_turns() -> None:
    turns = Turns(3)
    assert [turns.replica(7, turn) for turn in range(4)] == [(7, 0), (7, 1), (7, 2), (7, 0)]


def test_one_that_did_not_answer_is_passed_over_for_a_while() -> None:
    now = 100.0
    turns = Turns(2, lambda: now)
    turns.pass_over((0, 1))
    assert [turns.replica(0, turn)[1] for turn in range(4)] == [0, 0, 0, 0]
    assert [turns.replica(1, turn)[1] for turn in range(2)] == [0, 1]
    now += PASSED_OVER_FOR
    assert turns.replica(0, 1) == (0, 1)


def test_where_none_answers_they_take_turns_again() -> None:
    turns = Turns(2, lambda: 0.0)
    for replica in range(2):
        turns.pass_over((0, replica))
    assert [turns.replica(0, turn)[1] for turn in range(2)] == [0, 1]
