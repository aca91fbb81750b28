"""What is measured: a recommender with its settings, and the two floors that any recommender must beat."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from clipshelf.catalogue.catalogue import Catalogue
from clipshelf.evaluate.sessions import Session
from clipshelf.failures import Failure
from clipshelf.recommend.query import Query
from clipshelf.recommend.recommender import Recommender
from clipshelf.types import Rows


class Contender(Protocol):
    """Recommends products for sessions."""

    def rank(self, sessions: Sequence[Session], k: int) -> list[list[str]]:
        """At most k ids for each session, best first, none of them of its history."""
        ...


class RecommenderContender:
    """A recommender.

    - `recommender`: its catalogue may be another one than that of other contenders, of the same products.
    - `changes`: fields of queries that are set for all sessions, such as `{"weights": {"image": 0.5}}`.

    Raises InputError for changes that no query can have.
    """

    def __init__(self, recommender: Recommender, changes: Mapping[str, Any] | None = None) -> None:
        self._recommender = recommender
        self._changes = dict(changes or {})
        Query.from_dict({"text": "x", **self._changes})

    def rank(self, sessions: Sequence[Session], k: int) -> list[list[str]]:
        """A session that cannot be answered, such as by weights of 0, gets no products."""
        queries = [self._query(session, k) for session in sessions]
        failures: list[Failure] = []
        answers = self._recommender.recommend_batch(queries, k, on_error=failures.append)
        return [[item.id for item in answer] for answer in answers]

    def _query(self, session: Session, k: int) -> Query:
        excluded = [*session.query.get("exclude", ()), *session.seen]
        return Query.from_dict({**session.query, **self._changes, "k": k, "exclude": excluded}, allow_paths=True)


class Floor:
    """Part of the floors: which products a session may be answered with, as `where` and `exclude` of its query say."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._ids = list(catalogue.ids)
        self._rows_of_filter: dict[str, Rows] = {}

    def _allowed(self, session: Session) -> Rows:
        """Rows that the filter of a session leaves, ascending."""
        where = session.query.get("where")
        key = repr(where)
        if key not in self._rows_of_filter:
            count = len(self._ids)
            self._rows_of_filter[key] = (
                np.arange(count) if where is None else np.flatnonzero(self._catalogue.mask(where))
            )
        return self._rows_of_filter[key]

    @staticmethod
    def _excluded(session: Session) -> set[str]:
        query = session.query
        named = [*query.get("exclude", ()), *_ids(query.get("liked", ())), *_ids(query.get("disliked", ()))]
        return {*map(str, named), *session.seen}


class Popularity(Floor):
    """Recommends what is most often in the sessions, counted without what the session itself chose.

    - `catalogue`: the products.
    - `sessions`: those that are counted.
    """

    def __init__(self, catalogue: Catalogue, sessions: Iterable[Session]) -> None:
        super().__init__(catalogue)
        self.counts: Counter[str] = Counter()
        for session in sessions:
            self.counts.update(session.targets | session.seen)
        self._row_of = {id_: row for row, id_ in enumerate(self._ids)}
        self._orders: dict[str, list[str]] = {}

    def rank(self, sessions: Sequence[Session], k: int) -> list[list[str]]:
        """Ties are in the order of the catalogue."""
        return [self._rank(session, k) for session in sessions]

    def _rank(self, session: Session, k: int) -> list[str]:
        key = repr(session.query.get("where"))
        if key not in self._orders:
            allowed = [self._ids[row] for row in self._allowed(session).tolist()]
            self._orders[key] = sorted(allowed, key=lambda id_: -self.counts[id_])  # sorting is stable
        order, excluded = self._orders[key], self._excluded(session)
        # A target loses its own count, so it may fall behind as many others.
        pool = [id_ for id_ in order[: k + len(excluded) + len(session.targets)] if id_ not in excluded]
        pool.sort(key=lambda id_: (-(self.counts[id_] - (id_ in session.targets)), self._row_of[id_]))
        return pool[:k]


class Random(Floor):
    """Recommends products by chance.

    - `seed`: another one gives other products.
    """

    def __init__(self, catalogue: Catalogue, seed: int = 0) -> None:
        super().__init__(catalogue)
        self._seed = seed

    def rank(self, sessions: Sequence[Session], k: int) -> list[list[str]]:
        """The same products for the same sessions."""
        rng = np.random.default_rng(self._seed)
        return [self._draw(session, k, rng) for session in sessions]

    def _draw(self, session: Session, k: int, rng: np.random.Generator) -> list[str]:
        allowed, excluded = self._allowed(session), self._excluded(session)
        count = k + len(excluded)
        drawn = allowed[rng.choice(len(allowed), min(count, len(allowed)), replace=False)]
        return [id_ for id_ in (self._ids[row] for row in drawn.tolist()) if id_ not in excluded][:k]


def _ids(liked: Any) -> list[Any]:
    """Ids of likes: of a mapping, or of ids and (id, strength) pairs."""
    return [item if isinstance(item, (str, int)) else item[0] for item in liked]
