"""Logged sessions: what a person asked or looked at, and what that person then chose.

Three forms of records are read, which docs/evaluate.md shows:

- a query with `clicked`: an id or several;
- a query with a `history` and nothing clicked: its last new product is left out, and is what the person chose;
- an event: `session`, `id`, and optionally `kind` and `time`. The events of a session become such a history.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from clipshelf.catalogue.catalogue import Catalogue
from clipshelf.display import describe
from clipshelf.errors import InputError
from clipshelf.failures import OnError, attempt, check_on_error, handle
from clipshelf.recommend.arguments import check_iterable, check_product_id
from clipshelf.recommend.profile import Interaction
from clipshelf.recommend.query import Query

_CLICKED, _SESSION, _HISTORY = "clicked", "session", "history"
_SIGNALS = ("text", "image", "liked", "disliked", _HISTORY, "profile")


@dataclass(frozen=True)
class Session:
    """One session, checked.

    - `query`: the fields of a query, as docs/json.md describes them, without what was chosen.
    - `targets`: ids of the products that were chosen; the catalogue has them, and the history has none of them.
    - `seen`: ids of the history; they are not recommended again.
    """

    query: Mapping[str, Any]
    targets: frozenset[str]
    seen: frozenset[str]


def read_sessions(records: Iterable[Any], catalogue: Catalogue, *, on_error: OnError = "raise") -> list[Session]:
    """Read sessions, in order.

    - `records`: of the forms above, also mixed.
    - `catalogue`: knows which products there are. Others are left out of histories.
    - `on_error`: the error policy for a session that cannot be used: its query is wrong, the catalogue has none of the
      products that were chosen, or nothing is left to answer from.

    Raises InputError.
    """
    check_on_error(on_error)
    sessions = []
    for position, record in enumerate(join_events(check_iterable("sessions", records))):
        session = attempt(partial(_session, record, catalogue))
        if isinstance(session, InputError):
            handle(on_error, position, f"session {position}", InputError(f"session {position}: {session}"))
        else:
            sessions.append(session)
    return sessions


def join_events(records: Iterable[Any]) -> list[Any]:
    """Return the records, with the events of each session as one record at the place of its first event."""
    joined: list[Any] = []
    histories: dict[str, list[Any]] = {}
    for record in records:
        if not isinstance(record, Mapping) or _SESSION not in record:
            joined.append(record)
            continue
        name = str(record[_SESSION])
        if name not in histories:
            histories[name] = []
            joined.append({_HISTORY: histories[name]})
        time = record.get("time")
        # Without times, the order of the log counts.
        histories[name].append(
            [
                record.get("id"),
                record.get("kind") or "viewed",
                len(histories[name]) if time in (None, "") else _number(time),
            ]
        )
    return joined


def _number(time: Any) -> Any:
    """A time of a CSV, where numbers are texts."""
    try:
        return float(time) if isinstance(time, str) else time
    except ValueError:
        return time


def _session(record: Any, catalogue: Catalogue) -> Session:
    if isinstance(record, InputError):
        raise record
    if not isinstance(record, Mapping):
        raise InputError(f"expected an object with the fields of a query, found {type(record).__name__}")
    fields = {name: value for name, value in record.items() if name != _CLICKED and value not in (None, "")}
    events = sorted(
        map(Interaction.of, check_iterable(_HISTORY, fields.pop(_HISTORY, ()))), key=lambda event: event.time
    )
    clicked = _ids(record.get(_CLICKED))
    if not clicked:
        if not events:
            raise InputError(f"expected {_CLICKED}, or a history whose last product is left out, found neither")
        clicked = frozenset([events[-1].id])
        fields.setdefault("now", events[-1].time)
    targets = frozenset(_known(clicked, catalogue))
    if not targets:
        raise InputError(f"{_CLICKED}: expected ids that the catalogue has, found {describe(sorted(clicked))}")
    known = _known({event.id for event in events} - targets, catalogue)
    kept = [event for event in events if event.id in known]
    if kept:
        fields[_HISTORY] = kept
    fields["unknown"] = "ignore"
    Query.from_dict(fields, allow_paths=True)
    if not any(fields.get(name) for name in _SIGNALS):
        raise InputError("expected something to answer from beside what was chosen, found nothing")
    return Session(fields, targets, frozenset(event.id for event in kept))


def _known(ids: Iterable[str], catalogue: Catalogue) -> set[str]:
    listed = list(ids)
    return {id_ for id_, row in zip(listed, catalogue.find(listed).tolist(), strict=True) if row >= 0}


def _ids(value: Any) -> frozenset[str]:
    if value is None or (isinstance(value, str) and not value):
        return frozenset()
    listed: Sequence[Any] = value if isinstance(value, (list, tuple)) else [value]
    return frozenset(check_product_id(_CLICKED, id_) for id_ in listed)
