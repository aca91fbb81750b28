"""How much answers change from one model or catalogue to another one, over the queries of a log."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from clipshelf.display import describe
from clipshelf.errors import InputError
from clipshelf.evaluate.sessions import join_events
from clipshelf.failures import Failure, OnError, attempt, check_on_error, handle
from clipshelf.recommend.arguments import check_iterable
from clipshelf.recommend.profile import Interaction
from clipshelf.recommend.query import Query
from clipshelf.recommend.recommender import Recommender

_LARGEST = 10  # changes that are listed where the caller says nothing


@dataclass(frozen=True)
class AnswerChange:
    """How the answer of one query changes.

    - `position`: of the query in the log.
    - `query`: what it asks, in a line.
    - `overlap`: 0 to 1, the share of its products that both answers have.
    - `before`, `after`: ids of both answers, best first.
    """

    position: int
    query: str
    overlap: float
    before: tuple[str, ...]
    after: tuple[str, ...]

    @property
    def gone(self) -> tuple[str, ...]:
        """Ids that are answered no more, best first."""
        return tuple(id_ for id_ in self.before if id_ not in self.after)

    @property
    def new(self) -> tuple[str, ...]:
        """Ids that are answered now, best first."""
        return tuple(id_ for id_ in self.after if id_ not in self.before)


@dataclass(frozen=True)
class Comparison:
    """How answers change over a log.

    - `k`: products of an answer.
    - `changes`: one of each query, the largest change first.
    """

    k: int
    changes: tuple[AnswerChange, ...]

    @property
    def overlap(self) -> float:
        """Overlap at k: the mean share of products that both answers of a query have."""
        return float(np.mean([change.overlap for change in self.changes]))

    @property
    def same_best(self) -> float:
        """The share of queries whose best product is the same."""
        return float(np.mean([change.before[:1] == change.after[:1] for change in self.changes]))

    @property
    def same_products(self) -> float:
        """The share of queries whose products are the same, in any order."""
        return float(np.mean([change.overlap == 1 for change in self.changes]))

    def to_dict(self, largest: int = _LARGEST) -> dict[str, Any]:
        """Return the numbers and the largest changes, for JSON."""
        return {
            "k": self.k,
            "queries": len(self.changes),
            "overlap": self.overlap,
            "same_best": self.same_best,
            "same_products": self.same_products,
            "changes": [
                {
                    "position": change.position,
                    "query": change.query,
                    "overlap": change.overlap,
                    "gone": list(change.gone),
                    "new": list(change.new),
                }
                for change in self.changes[:largest]
                if change.overlap < 1
            ],
        }


def compare_answers(
    old: Recommender, new: Recommender, records: Iterable[Any], *, k: int = 10, on_error: OnError = "raise"
) -> Comparison:
    """Answer the queries of a log twice, and compare.

    - `old`, `new`: two recommenders of the same products.
    - `records`: queries or events, in the forms that docs/evaluate.md shows. What was clicked does not count.
    - `k`: products of an answer, where a query does not say.
    - `on_error`: the error policy for a query that cannot be answered by both, see `clipshelf.failures`.

    Raises InputError, also where no query is left.
    """
    check_on_error(on_error)
    queries: dict[int, Query] = {}
    names: dict[int, str] = {}
    for position, record in enumerate(join_events(records)):
        query = attempt(partial(_query, record, k))
        if isinstance(query, InputError):
            handle(on_error, position, f"query {position}", InputError(f"query {position}: {query}"))
        else:
            queries[position], names[position] = query, _name(record)
    failures: dict[int, str] = {}
    before, after = (_answers(recommender, queries, failures) for recommender in (old, new))
    for position, reason in failures.items():
        handle(on_error, position, f"query {position}", InputError(f"query {position}: {reason}"))
    changes = [
        AnswerChange(position, names[position], _overlap(before[position], after[position]), *pair)
        for position, pair in ((position, (before[position], after[position])) for position in queries)
        if position not in failures
    ]
    if not changes:
        raise InputError("queries: expected one that both models can answer, found none")
    return Comparison(k, tuple(sorted(changes, key=lambda change: change.overlap)))


def _query(record: Any, k: int) -> Query:
    if isinstance(record, InputError):
        raise record
    if not isinstance(record, Mapping):
        raise InputError(f"expected an object with the fields of a query, found {type(record).__name__}")
    fields = {name: value for name, value in record.items() if name != "clicked" and value not in (None, "")}
    if events := [Interaction.of(event) for event in check_iterable("history", fields.pop("history", ()))]:
        # A log is seen from its own time, else its histories would have faded.
        fields |= {"now": fields.get("now", max(event.time for event in events)), "history": events}
    return Query.from_dict({"k": k, "unknown": "ignore", **fields}, allow_paths=True)


def _answers(
    recommender: Recommender, queries: Mapping[int, Query], failures: dict[int, str]
) -> dict[int, tuple[str, ...]]:
    """Ids of the answers by position; why one failed goes to `failures`."""
    positions = list(queries)

    def note(failure: Failure) -> None:
        failures.setdefault(positions[failure.index], failure.reason)

    answers = recommender.recommend_batch(list(queries.values()), on_error=note)
    return {position: tuple(item.id for item in answer) for position, answer in zip(positions, answers, strict=True)}


def _overlap(before: Sequence[str], after: Sequence[str]) -> float:
    longest = max(len(before), len(after))
    return len({*before} & {*after}) / longest if longest else 1.0


def _name(record: Mapping[str, Any]) -> str:
    """What a query asks, in a line: its fields but for those of numbers and times."""
    parts = {name: record[name] for name in ("text", "image", "liked", "disliked", "where") if record.get(name)}
    if history := record.get("history"):
        parts["history"] = [event[0] if isinstance(event, (list, tuple)) else event for event in history]
    return ", ".join(f"{name} {describe(value)}" for name, value in parts.items()) or "no signal of its own"
