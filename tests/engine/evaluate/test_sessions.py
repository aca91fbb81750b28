"""Logs to sessions: the three forms of records, and what cannot be used."""

from __future__ import annotations

from typing import Any

import pytest
from clipshelf import Catalogue, Engine
from clipshelf.errors import InputError
from clipshelf.evaluate.sessions import read_sessions
from clipshelf.failures import Failure


@pytest.fixture
def catalogue(engine: Engine) -> Catalogue:
    return Catalogue.build(engine, [{"id": id_, "text": "red shoe"} for id_ in "abcde"])


def events(session: Any) -> list[tuple[str, str, float]]:
    return [(event.id, event.kind, event.time) for event in session.query["history"]]


def test_a_query_with_what_was_clicked(catalogue: Catalogue) -> None:
    (session,) = read_sessions(
        [{"text": "warm", "history": [["a", "viewed", 5], ["c", "viewed", 6]], "clicked": ["c", "gone"]}], catalogue
    )
    assert session.targets == {"c"} and session.seen == {"a"}
    assert session.query["text"] == "warm" and "clicked" not in session.query
    assert events(session) == [("a", "viewed", 5.0)]  # the history does not tell what was chosen


def test_the_last_product_of_a_history_is_left_out(catalogue: Catalogue) -> None:
    history = [["b", "bought", 30], ["a", "viewed", 10], ["b", "viewed", 20], ["x", "viewed", 5]]
    (session,) = read_sessions([{"history": history}], catalogue)
    assert session.targets == {"b"} and session.seen == {"a"} and session.query["now"] == 30.0
    assert events(session) == [("a", "viewed", 10.0)]


def test_events_of_a_table_become_sessions(catalogue: Catalogue) -> None:
    records = [
        {"session": "1", "id": "a", "kind": "viewed", "time": "100"},
        {"session": "2", "id": "d", "kind": "", "time": ""},
        {"session": "1", "id": "c", "kind": "bought", "time": "2026-01-01"},
        {"session": "2", "id": "e", "kind": "", "time": ""},
    ]
    first, second = read_sessions(records, catalogue)
    assert first.targets == {"c"} and first.seen == {"a"} and events(first) == [("a", "viewed", 100.0)]
    assert second.targets == {"e"} and second.seen == {"d"} and events(second) == [("d", "viewed", 0.0)]


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"text": "warm"}, "expected clicked, or a history whose last product is left out, found neither"),
        ({"text": "warm", "clicked": "gone"}, "clicked: expected ids that the catalogue has, found"),
        ({"history": [["a", "viewed", 1]]}, "expected something to answer from beside what was chosen"),
        ({"history": [["a", "viewed", 1], ["a", "bought", 2]]}, "expected something to answer from"),
        ({"history": [["gone", "viewed", 1], ["a", "bought", 2]]}, "expected something to answer from"),
        ({"txt": "warm", "clicked": "a"}, "txt"),
        ({"session": 1, "id": "a", "kind": "stolen", "time": 1}, "history: expected a kind among"),
        (7, "expected an object with the fields of a query, found int"),
    ],
)
def test_what_cannot_be_used_is_named(catalogue: Catalogue, record: Any, message: str) -> None:
    good = {"text": "warm", "clicked": "a"}
    with pytest.raises(InputError, match=f"session 1: .*{message}"):
        read_sessions([good, record], catalogue)
    failures: list[Failure] = []
    assert len(read_sessions([good, record, good], catalogue, on_error=failures.append)) == 2
    assert [failure.index for failure in failures] == [1]
