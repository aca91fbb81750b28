"""The straight line from queries to recommendations."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import partial, wraps
from inspect import Signature, signature
from itertools import repeat
from typing import Any, Concatenate, NamedTuple, ParamSpec

import numpy as np

from clipshelf.catalogue.catalogue import Catalogue
from clipshelf.catalogue.statistics import Statistics
from clipshelf.display import describe
from clipshelf.errors import InputError, ShardLost
from clipshelf.failures import OnError, attempt, check_on_error, handle, one_item
from clipshelf.model.engine import Engine
from clipshelf.model.match_probability import check_gives_probabilities
from clipshelf.recommend.answers import Contributions, Group, GroupMember, Recommendation, Recommendations
from clipshelf.recommend.arguments import is_number
from clipshelf.recommend.catalogue_store import CatalogueStore
from clipshelf.recommend.embedding import QueryEmbedder
from clipshelf.recommend.empty_answers import explain_empty
from clipshelf.recommend.explanations import Explainer
from clipshelf.recommend.fusion import QueryVector, fuse
from clipshelf.recommend.hits import HitGroup, Hits
from clipshelf.recommend.matching import Matcher
from clipshelf.recommend.profile import Profile
from clipshelf.recommend.query import Query
from clipshelf.recommend.resolve import ResolvedQuery, resolve
from clipshelf.recommend.search import Searcher
from clipshelf.recommend.signals import Signals
from clipshelf.recommend.store import ProductStore
from clipshelf.recommend.weights import Weights
from clipshelf.runtime.providers import CPU, resolve_provider
from clipshelf.timeline import Timeline
from clipshelf.types import Product
from clipshelf.workers import Workers, batches

_DAY = 86_400.0  # seconds
_PART = 128  # queries at most that are fused, searched for and answered together
# Searches at the same time: while one of them settles its candidates, another one scans.
_SEARCHES = 2

_NO_WEIGHT = "query: expected a signal that counts, found only such as have a weight of 0, three stars, or long faded"
_NOT_FINITE = "query: expected embeddings of finite numbers, found NaN or infinity; the catalogue or model is damaged"

Arguments = ParamSpec("Arguments")


def _with_arguments_of(
    make: Callable[Arguments, Query],
) -> Callable[
    [Callable[[StoreRecommender, Query], Recommendations]],
    Callable[Concatenate[StoreRecommender, Arguments], Recommendations],
]:
    """Give a method that takes a query the arguments of `make`, so that they are written once.

    Type checkers and `help` see the full signature.
    """

    def decorate(
        method: Callable[[StoreRecommender, Query], Recommendations],
    ) -> Callable[Concatenate[StoreRecommender, Arguments], Recommendations]:
        @wraps(method)
        def call(self: StoreRecommender, /, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Recommendations:
            return method(self, make(*args, **kwargs))

        itself = next(iter(signature(method).parameters.values()))
        call.__signature__ = Signature([itself, *signature(make).parameters.values()])  # type: ignore[attr-defined]
        return call

    return decorate


class StoreRecommender:
    """Answers queries from a store of products with the engine that embedded them. Threads may share it.

    - `engine`: the model that embedded the products.
    - `store`: the products.
    - `weights`, `half_life`, `gap_correction`: as `Recommender` takes them.
    """

    def __init__(
        self,
        engine: Engine,
        store: ProductStore,
        *,
        weights: Weights | Mapping[str, float] | None = None,
        half_life: float = 30.0,
        gap_correction: bool = True,
    ) -> None:
        if not is_number(half_life) or not half_life > 0:
            raise InputError(f"half_life: expected days above 0, found {describe(half_life)}")
        self.engine = engine
        self.weights = Weights.of(weights, Weights())
        self.half_life = half_life
        self.gap_correction = gap_correction
        self._store = store
        self._statistics = store.statistics if gap_correction else Statistics.none(store.dim)
        self._embedder = QueryEmbedder(engine)
        self._searcher = Searcher(store, self._statistics)
        self._explainer = Explainer(store, self._statistics)
        self._matcher = Matcher(store, engine.artifact.manifest.logits)
        self._searches = Workers(_SEARCHES)

    @_with_arguments_of(Query)
    def recommend(self, query: Query) -> Recommendations:
        """Answer one query, whose arguments are those of `Query`.

        Returns the k products that fit best, best first; fewer, with a note where there are none, if filters and
        exclusions leave fewer. Raises InputError on arguments that do not fit or without any
        signal, UnknownIdError for ids that the catalogue does not have, and ImageError for a picture that cannot be
        read.
        """
        return self.answer(query)

    def answer(self, query: Query) -> Recommendations:
        """`recommend`, for arguments that are a query already."""
        with one_item():
            return self.recommend_batch([query])[0]

    def recommend_batch(
        self,
        queries: Iterable[Query | Profile | Mapping[str, Any]],
        k: int = 10,
        *,
        on_error: OnError = "raise",
    ) -> list[Recommendations]:
        """Answer many queries: texts and pictures are embedded in batches, and ranking is one matrix product.

        - `queries`: queries, profiles, or mappings with the arguments of `recommend`.
        - `k`: for profiles, and for mappings without one.
        - `on_error`: the error policy (`clipshelf.failures`); a failed query has an answer without products.

        Returns one answer for each query, in order. Raises as `recommend` does.
        """
        check_on_error(on_error)
        timeline = Timeline()
        resolved = resolve(
            queries, self._store, k=k, weights=self.weights, half_life=self.half_life * _DAY, now=time.time()
        )
        good: dict[int, ResolvedQuery] = {}
        for index, query in enumerate(resolved):
            checked = query if isinstance(query, InputError) else attempt(partial(self._check_model, query))
            if isinstance(checked, InputError):
                handle(on_error, index, "query", checked)
            else:
                good[index] = checked
        signals = self._embedder.embed(good, on_error, timeline)
        answers = dict(self._rank(good, signals, on_error, timeline))
        timeline.lap("rank")
        took_ms = {name: timeline.milliseconds(name) for name in ("embed_text", "embed_image", "rank")}
        took_ms["total"] = timeline.total()
        stages = timeline.spans()
        return [
            Recommendations(
                answer.items,
                took_ms.copy(),
                stages.copy(),
                note=explain_empty(good[index], self._store) if index in answers and not answer.items else None,
                unknown_ids=good[index].unknown_ids if index in good else (),
                missing_shards=tuple(sorted(answer.missing)),
            )
            for index, answer in ((index, answers.get(index, _NO_ANSWER)) for index in range(len(resolved)))
        ]

    def _check_model(self, query: ResolvedQuery) -> ResolvedQuery:
        """The query. Raises InputError where it asks for probabilities that the model does not give."""
        if query.probability:
            check_gives_probabilities(self.engine.artifact.manifest.logits, self.engine.artifact.manifest.family)
        return query

    def _rank(
        self,
        queries: Mapping[int, ResolvedQuery],
        signals: Mapping[int, Signals],
        on_error: OnError,
        timeline: Timeline,
    ) -> Iterator[tuple[int, _Answer]]:
        """Index and answer of each query.

        Threads search for a part of the queries while the part before it is answered and the one behind it is fused.
        """
        # Parts of equal size, so that no thread waits for the last of them.
        size = math.ceil(len(signals) / math.ceil(len(signals) / _PART)) if signals else 1
        parts = (
            self._fuse({index: (queries[index], signals[index]) for index in indices}, on_error, timeline)
            for indices in batches(signals, size)
        )
        for answers in self._searches.map_ahead(partial(self._answer_or_retry, timeline), parts, depth=_SEARCHES):
            yield from answers

    def _fuse(
        self, part: Mapping[int, tuple[ResolvedQuery, Signals]], on_error: OnError, timeline: Timeline
    ) -> _FusedPart:
        """A part of the queries with their vectors, without those whose signals have no weight."""
        queries, signals = zip(*part.values(), strict=True)
        with timeline.stage("fuse"):
            vectors = fuse(signals, [query.weights for query in queries], self._store, self._statistics)
        fused = _FusedPart([], [], [], [])
        for index, query, signal, vector in zip(part, queries, signals, vectors, strict=True):
            if not vector.mass.sum():
                handle(on_error, index, "query", InputError(_NO_WEIGHT))
            elif not np.isfinite(vector.row).all():
                handle(on_error, index, "query", InputError(_NOT_FINITE))
            else:
                fused.append(index, query, signal, vector)
        return fused

    def _answer_or_retry(self, timeline: Timeline, part: _FusedPart) -> list[tuple[int, _Answer]]:
        """Index and answer of each query of a part.

        Where a shard is lost after its search, its products cannot be answered: the search begins again without it.
        """
        try:
            return self._answer(timeline, part)
        except ShardLost:
            return self._answer(timeline, part)

    def _answer(self, timeline: Timeline, part: _FusedPart) -> list[tuple[int, _Answer]]:
        """Index and answer of each query of a part."""
        with timeline.stage("search"):
            hits = self._searcher.search(part.queries, part.vectors)
            groups = list(map(self._searcher.groups, part.queries, part.vectors, hits))
        weights = [query.weights for query in part.queries]
        names = ([addition.name for addition in query.additions] for query in part.queries)
        records = [self._store.records(of_query.rows) for of_query in hits]
        contributions = [
            self._explainer.explain(*of_query, added_names=added_names)
            for *of_query, added_names in zip(part.signals, weights, part.vectors, hits, records, names, strict=True)
        ]
        probabilities = map(self._probabilities, part.queries, part.signals, hits)
        items = map(self._items, hits, records, contributions, probabilities, groups)
        return list(zip(part.indices, map(_Answer, items, map(_missing, hits, groups)), strict=True))

    def _probabilities(self, query: ResolvedQuery, signals: Signals, hits: Hits) -> Sequence[float | None]:
        return self._matcher.probabilities(signals, hits.rows) if query.probability else [None] * len(hits.rows)

    def _items(
        self,
        hits: Hits,
        products: Sequence[Product],
        contributions: Sequence[Contributions],
        probabilities: Sequence[float | None],
        groups: Sequence[HitGroup],
    ) -> tuple[Recommendation, ...]:
        """The items of one answer."""
        scores = (hits.fits - hits.penalties).tolist()
        ids = [product["id"] for product in products]
        pictures = [each.best_picture for each in contributions]
        found = map(self._group, groups) if groups else repeat(None, len(ids))
        relevance = hits.relevance.tolist()
        reasons = (contributions, probabilities, found, pictures)
        return tuple(map(Recommendation, ids, scores, relevance, products, *reasons))

    def _group(self, group: HitGroup) -> Group:
        """A group with the records of its members."""
        products = self._store.records(group.others.rows)
        scores = group.others.fits.tolist()
        ids = [product["id"] for product in products]
        return Group(group.value, group.size, tuple(map(GroupMember, ids, scores, products)))


class Recommender(StoreRecommender):
    """Answers queries from one catalogue with the engine that embedded it. Any number of threads may share it.

    A pickled or copied recommender reopens its engine and its catalogue.

    - `engine`, `catalogue`: of the same model, else FingerprintMismatch is raised.
    - `weights`: for queries that do not say theirs, all or some by name.
    - `half_life`: days after which an interaction counts half.
    - `gap_correction`: False makes scores weighted means of plain cosines (docs/scores.md).
    - `rank_on`: "cpu", or "cuda" to hold the rows in fp16 on a GPU and scan them there, with the same answers to the
      bit; "auto" for CUDA where onnxruntime has it. ProviderUnavailable is raised where it does not start or its memory
      has no room.
    """

    def __init__(
        self,
        engine: Engine,
        catalogue: Catalogue,
        *,
        weights: Weights | Mapping[str, float] | None = None,
        half_life: float = 30.0,
        gap_correction: bool = True,
        rank_on: str = "cpu",
    ) -> None:
        catalogue.require(engine)
        self.catalogue = catalogue
        self.rank_on = rank_on
        provider = resolve_provider(rank_on)
        store = CatalogueStore(catalogue, engine.threads, provider=None if provider == CPU else provider)
        super().__init__(engine, store, weights=weights, half_life=half_life, gap_correction=gap_correction)

    def __reduce__(self) -> tuple[Any, ...]:
        make = partial(
            type(self),
            weights=self.weights,
            half_life=self.half_life,
            gap_correction=self.gap_correction,
            rank_on=self.rank_on,
        )
        return make, (self.engine, self.catalogue)


def _missing(hits: Hits, groups: Sequence[HitGroup]) -> AbstractSet[int]:
    """Parts of the store that did not answer, for the hits themselves or for the members of their groups."""
    return frozenset(hits.missing).union(*(group.others.missing for group in groups))


class _Answer(NamedTuple):
    """The items of an answer, and the parts of the store whose products it lacks."""

    items: tuple[Recommendation, ...] = ()
    missing: AbstractSet[int] = frozenset()


_NO_ANSWER = _Answer()


@dataclass(frozen=True)
class _FusedPart:
    """Queries that are searched for together, one entry of each list for each of them."""

    indices: list[int]
    queries: list[ResolvedQuery]
    signals: list[Signals]
    vectors: list[QueryVector]

    def append(self, index: int, query: ResolvedQuery, signals: Signals, vector: QueryVector) -> None:
        """Add a query."""
        self.indices.append(index)
        self.queries.append(query)
        self.signals.append(signals)
        self.vectors.append(vector)
