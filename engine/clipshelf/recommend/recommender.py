"""The straight line from queries to recommendations."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, wait
from contextlib import contextmanager
from functools import partial, wraps
from inspect import Signature, signature
from typing import Any, Concatenate, ParamSpec

from clipshelf.catalogue.catalogue import Catalogue
from clipshelf.catalogue.statistics import Statistics
from clipshelf.errors import InputError
from clipshelf.failures import Failure, OnError, check_on_error, handle
from clipshelf.model.engine import Engine
from clipshelf.recommend.answers import Contributions, Recommendation, Recommendations
from clipshelf.recommend.arguments import is_number
from clipshelf.recommend.explanations import Explainer
from clipshelf.recommend.fusion import QueryVector, fuse
from clipshelf.recommend.profile import Profile
from clipshelf.recommend.query import Query
from clipshelf.recommend.resolve import ResolvedQuery, resolve
from clipshelf.recommend.search import Hits, Searcher
from clipshelf.recommend.signals import Signals, collect_signals
from clipshelf.recommend.weights import Weights
from clipshelf.timeline import Timeline
from clipshelf.types import FloatArray, ImageSource, Pixels
from clipshelf.workers import Workers, batches

_DAY = 86_400.0  # seconds
_PART = 128  # queries at most that are fused, searched for and answered together
# Searches at the same time: while one of them settles its candidates, another one scans.
_SEARCHES = 2

_NO_WEIGHT = "query: expected a signal that counts, found only such as have a weight of 0, three stars, or long faded"

Arguments = ParamSpec("Arguments")


def _with_arguments_of(
    make: Callable[Arguments, Query],
) -> Callable[
    [Callable[[Recommender, Query], Recommendations]], Callable[Concatenate[Recommender, Arguments], Recommendations]
]:
    """Give a method that takes a query the arguments of `make`, so that they are written once.

    Type checkers and `help` see the full signature.
    """

    def decorate(
        method: Callable[[Recommender, Query], Recommendations],
    ) -> Callable[Concatenate[Recommender, Arguments], Recommendations]:
        @wraps(method)
        def call(self: Recommender, /, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Recommendations:
            return method(self, make(*args, **kwargs))

        itself = next(iter(signature(method).parameters.values()))
        call.__signature__ = Signature([itself, *signature(make).parameters.values()])  # type: ignore[attr-defined]
        return call

    return decorate


class Recommender:
    """Answers queries from one catalogue with the engine that embedded it. Any number of threads may share it.

    A pickled or copied recommender reopens its engine and its catalogue.

    - `engine`, `catalogue`: of the same model, else FingerprintMismatch is raised.
    - `weights`: for queries that do not say theirs, all or some by name.
    - `half_life`: days after which an interaction counts half.
    - `gap_correction`: False makes scores weighted means of plain cosines (docs/scores.md).
    """

    def __init__(
        self,
        engine: Engine,
        catalogue: Catalogue,
        *,
        weights: Weights | Mapping[str, float] | None = None,
        half_life: float = 30.0,
        gap_correction: bool = True,
    ) -> None:
        catalogue.require(engine)
        if not is_number(half_life) or not half_life > 0:
            raise InputError(f"half_life: expected days above 0, found {half_life!r}")
        self.engine = engine
        self.catalogue = catalogue
        self.weights = Weights.of(weights, Weights())
        self.half_life = half_life
        self.gap_correction = gap_correction
        self._statistics = catalogue.statistics if gap_correction else Statistics.none(catalogue.dim)
        self._searcher = Searcher(catalogue, self._statistics, engine.threads)
        self._explainer = Explainer(catalogue, self._statistics)
        # The engine's own decoders may be busy with many pictures, behind which the one of a query would wait.
        self._decoders = Workers()
        self._searches = Workers(_SEARCHES)

    def __reduce__(self) -> tuple[Any, ...]:
        make = partial(type(self), weights=self.weights, half_life=self.half_life, gap_correction=self.gap_correction)
        return make, (self.engine, self.catalogue)

    @_with_arguments_of(Query)
    def recommend(self, query: Query) -> Recommendations:
        """Answer one query, whose arguments are those of `Query`.

        Returns the k products that fit best, best first. Raises InputError on arguments that do not fit or without any
        signal, UnknownIdError for ids that the catalogue does not have, and ImageError for a picture that cannot be
        read.
        """
        return self.answer(query)

    def answer(self, query: Query) -> Recommendations:
        """`recommend`, for arguments that are a query already."""
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
            queries, self.catalogue, k=k, weights=self.weights, half_life=self.half_life * _DAY, now=time.time()
        )
        good: dict[int, ResolvedQuery] = {}
        for index, query in enumerate(resolved):
            if isinstance(query, InputError):
                handle(on_error, index, "query", query)
            else:
                good[index] = query
        signals = self._embed(good, on_error, timeline)
        items = dict(self._rank(good, signals, on_error, timeline))
        timeline.lap("rank")
        took_ms = {name: timeline.milliseconds(name) for name in ("embed_text", "embed_image", "rank")}
        took_ms["total"] = timeline.total()
        stages = timeline.spans()
        return [Recommendations(items.get(index, ()), took_ms.copy(), stages.copy()) for index in range(len(resolved))]

    def _embed(self, queries: Mapping[int, ResolvedQuery], on_error: OnError, timeline: Timeline) -> dict[int, Signals]:
        """Signals of queries by index, without the queries of which an item cannot be embedded."""
        texts = [(index, text) for index, query in queries.items() for text in query.texts]
        images = [(index, image) for index, query in queries.items() for image in query.images]
        bad_texts, bad_images = list[Failure](), list[Failure]()
        with self._decoding([image for _, image in images] if texts else [], timeline) as decoded:
            words = self.engine.embed_texts(
                [text for _, text in texts],
                on_error="raise" if on_error == "raise" else bad_texts.append,
                timeline=timeline,
            )
            timeline.lap("embed_text")
        if decoded is not None and decoded.exception() is None:
            pictures = self.engine.embed_pixels(decoded.result()[None], timeline=timeline)
        else:
            pictures = self.engine.embed_images(
                [image for _, image in images],
                on_error="raise" if on_error == "raise" else bad_images.append,
                timeline=timeline,
            )
        timeline.lap("embed_image")
        failed: dict[int, Failure] = {}
        for items, failures in ((texts, bad_texts), (images, bad_images)):
            failed |= {items[failure.index][0]: failure for failure in failures}
        for index, failure in failed.items():
            handle(on_error, index, failure.source, InputError(failure.reason))
        signals = zip(queries, _signals(queries.values(), words, pictures), strict=True)
        return {index: each for index, each in signals if index not in failed}

    def _rank(
        self,
        queries: Mapping[int, ResolvedQuery],
        signals: Mapping[int, Signals],
        on_error: OnError,
        timeline: Timeline,
    ) -> Iterator[tuple[int, tuple[Recommendation, ...]]]:
        """Index and items of each query.

        Threads search for a part of the queries while the part before it is answered and the one behind it is fused.
        """
        # Parts of equal size, so that no thread waits for the last of them.
        size = math.ceil(len(signals) / math.ceil(len(signals) / _PART)) if signals else 1
        parts = (self._fuse(indices, queries, signals, on_error, timeline) for indices in batches(signals, size))
        answer = partial(self._answer, queries, signals, timeline)
        for answers in self._searches.map_ahead(answer, parts, depth=_SEARCHES):
            yield from answers

    def _fuse(
        self,
        indices: Sequence[int],
        queries: Mapping[int, ResolvedQuery],
        signals: Mapping[int, Signals],
        on_error: OnError,
        timeline: Timeline,
    ) -> dict[int, QueryVector]:
        """Vectors of queries by index, without the queries whose signals have no weight."""
        with timeline.stage("fuse"):
            weights = [queries[index].weights for index in indices]
            vectors = fuse([signals[index] for index in indices], weights, self.catalogue, self._statistics)
        weighty: dict[int, QueryVector] = {}
        for index, vector in zip(indices, vectors, strict=True):
            if vector.mass.sum():
                weighty[index] = vector
            else:
                handle(on_error, index, "query", InputError(_NO_WEIGHT))
        return weighty

    def _answer(
        self,
        queries: Mapping[int, ResolvedQuery],
        signals: Mapping[int, Signals],
        timeline: Timeline,
        vectors: Mapping[int, QueryVector],
    ) -> list[tuple[int, tuple[Recommendation, ...]]]:
        """Index and items of a part of the queries."""
        resolved = [queries[index] for index in vectors]
        with timeline.stage("search"):
            hits = self._searcher.search(resolved, [*vectors.values()])
        reasons = self._explainer.explain(
            [signals[index] for index in vectors], [query.weights for query in resolved], [*vectors.values()], hits
        )
        return list(zip(vectors, map(self._items, hits, reasons), strict=True))

    def _items(self, hits: Hits, reasons: Sequence[Contributions]) -> tuple[Recommendation, ...]:
        """The items of one answer."""
        scores = (hits.fits - hits.penalties).tolist()
        products = self.catalogue.records(hits.rows)
        ids = [product["id"] for product in products]
        return tuple(map(Recommendation, ids, scores, hits.relevance.tolist(), products, reasons))

    @contextmanager
    def _decoding(self, images: Sequence[ImageSource], timeline: Timeline) -> Iterator[Future[Pixels] | None]:
        """Open the vision tower and decode a single picture in another thread while the block runs.

        Of several pictures, the engine itself decodes the next ones while it embeds the first.
        """
        if len(images) != 1:
            yield None
            return
        decoded = self._decoders.submit(partial(_open_and_read, self.engine, timeline), images[0])
        try:
            yield decoded
        finally:
            wait([decoded])


def _open_and_read(engine: Engine, timeline: Timeline, image: ImageSource) -> Pixels:
    engine.towers.session("vision")
    return engine.read_image(image, timeline=timeline)


def _signals(queries: Iterable[ResolvedQuery], words: FloatArray, pictures: FloatArray) -> Iterator[Signals]:
    """Signals of each query, from embeddings (t, D) and (i, D) of their texts and pictures in turn."""
    text = image = 0
    for query in queries:
        texts, images = words[text : text + len(query.texts)], pictures[image : image + len(query.images)]
        text, image = text + len(query.texts), image + len(query.images)
        yield collect_signals(texts, images, query.products, query.rows, query.weights)
