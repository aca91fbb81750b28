"""The straight line from queries to recommendations."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np

from clipshelf.answer import Recommendation, Recommendations
from clipshelf.catalogue import Catalogue
from clipshelf.catalogue.filters import Mask, Where
from clipshelf.catalogue.statistics import Statistics
from clipshelf.details import Details
from clipshelf.engine import Engine, Failure, OnError, Report, reporter
from clipshelf.errors import InputError
from clipshelf.profile import Likes, Profile, Time
from clipshelf.query import Images, Query, Texts, Weights
from clipshelf.search import Found, Request, Searcher
from clipshelf.signals import Fused, Signals, collect, fuse, product_signals
from clipshelf.types import ImageSource, Pixels, Rows

_DAY = 86_400.0
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class _Asked:
    """A query that was checked: what is to be embedded, and the weights of products by (kind, id), with their rows."""

    query: Query
    weights: Weights
    texts: list[str]
    images: list[ImageSource]
    products: dict[tuple[str, str], float]
    rows: Rows
    mask: Mask | None
    left_out: Rows


class Recommender:
    """Answers queries from one catalogue with the engine that embedded it. Any number of threads may share it.

    `weights` are those of queries without their own; `half_life` is in days, after which an interaction counts half.
    Without `gap_correction` scores are weighted means of plain cosines.
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
        if not half_life > 0:
            raise InputError(f"half_life: expected days above 0, found {half_life!r}")
        self.engine = engine
        self.catalogue = catalogue
        self.weights = Weights.of(weights, Weights())
        self.half_life = half_life
        self._statistics = catalogue.statistics if gap_correction else Statistics.none(catalogue.dim)
        self._searcher = Searcher(catalogue, self._statistics, engine.threads)

    def recommend(  # noqa: PLR0917
        self,
        text: Texts | None = None,
        image: Images | None = None,
        liked: Likes = (),
        disliked: Likes = (),
        history: Iterable[Any] = (),
        k: int = 10,
        where: Where | str | None = None,
        exclude: Collection[str] = (),
        weights: Weights | Mapping[str, float] | None = None,
        diversity: float = 0.0,
        *,
        profile: Profile | None = None,
        exclude_bought: bool = False,
        now: Time | None = None,
    ) -> Recommendations:
        """The k products that fit best, best first, of those that `where` lets through.

        `text` and `image` are one or a list of several. `liked` and `disliked` are product ids or (id, strength > 0);
        they are never answered. `history` has (id, kind, time) or (id, "rated", time, stars), as `Interaction`
        explains; `now` is the time it is seen from. `profile` adds its own signals to all of these. `where` is a filter
        as `clipshelf.catalogue.filters` or, in words, `clipshelf.catalogue.where` explains; `exclude` has ids.
        `weights` changes some weights by name; what has no weight is never embedded. `diversity`, 0 to 1, trades fit
        for variety, as `clipshelf.diversity` explains. `clipshelf.signals` says what a score is.

        Raises InputError on arguments that don't fit or without any signal, UnknownIdError naming ids that the
        catalogue doesn't have, ImageError on a picture that cannot be read.
        """
        return self.answer(
            Query(
                text=text,
                image=image,
                liked=liked,
                disliked=disliked,
                history=history,
                k=k,
                where=where,
                exclude=exclude,
                weights=weights,
                diversity=diversity,
                profile=profile,
                exclude_bought=exclude_bought,
                now=now,
            )
        )

    def answer(self, query: Query) -> Recommendations:
        """`recommend` with its arguments as one value."""
        return self.recommend_batch([query])[0]

    def recommend_batch(
        self,
        queries: Iterable[Query | Profile | Mapping[str, Any]],
        k: int = 10,
        *,
        on_error: OnError = "raise",
        failures: list[Failure] | None = None,
    ) -> list[Recommendations]:
        """Answer many queries at once: texts and pictures are embedded in batches, and ranking is one matrix product.

        A query is a Query, a mapping of `recommend`'s arguments, or a Profile; k is for those that don't say it.
        `took_ms` is that of the whole batch. A query that cannot be answered raises as in `recommend`, or with
        `on_error="skip"` gets no products and is added to `failures`.
        """
        clock = [time.perf_counter()]
        report = reporter("queries", queries, on_error, failures)
        asked: dict[int, _Asked] = {}
        count = 0
        for count, checked in enumerate(self._check_all(queries, k), 1):
            if isinstance(checked, InputError):
                report(count - 1, "query", checked)
            else:
                asked[count - 1] = checked
        signals = self._embed(asked, on_error, report, clock)
        weights = [asked[i].weights for i in signals]
        fused = fuse([*signals.values()], weights, self.catalogue, self._statistics)
        requests: dict[int, Request] = {}
        for i, one in zip(signals, fused, strict=True):
            request = _try(partial(_request, asked[i], one))
            if isinstance(request, InputError):
                report(i, "query", request)
            else:
                requests[i] = request
        found = self._searcher.search([*requests.values()])
        clock.append(time.perf_counter())
        stages = zip(("embed_text", "embed_image", "rank"), clock, clock[1:], strict=False)
        took_ms = {name: round(1e3 * (end - start), 3) for name, start, end in stages}
        took_ms["total"] = round(1e3 * (clock[-1] - clock[0]), 3)
        answers = [Recommendations((), took_ms)] * count
        for (i, request), result in zip(requests.items(), found, strict=True):
            answers[i] = self._answer(request, signals[i], result, took_ms)
        return answers

    def _check_all(
        self, queries: Iterable[Query | Profile | Mapping[str, Any]], k: int
    ) -> Iterator[_Asked | InputError]:
        """Check queries one by one, but look up all their ids at once."""
        read = [_try(partial(Query.of, query, k)) for query in queries]
        names = list({id_ for query in read if isinstance(query, Query) for id_ in query.named})
        row_of = dict(zip(names, self.catalogue.find(names).tolist(), strict=True))
        masks: dict[str, Mask] = {}
        for query in read:
            yield _try(partial(self._check, query, masks, row_of)) if isinstance(query, Query) else query

    def _check(self, query: Query, masks: dict[str, Mask], row_of: Mapping[str, int]) -> _Asked:
        weights, taste = Weights.of(query.weights, self.weights), query.taste
        if not (query.texts or query.images or taste.ids):
            raise InputError("query: expected a text, an image, likes, dislikes or a history, found none of them")
        if min(map(row_of.__getitem__, query.named), default=0) < 0:
            self.catalogue.rows(sorted(query.named))  # raises, naming those that aren't there
        by_image, by_text = weights.cosines.sum(axis=1)
        texts = query.texts if weights.text and by_text else []
        images = query.images if weights.image and by_image else []
        products = product_signals(taste, weights, query.seen_from, self.half_life * _DAY)
        key = repr(query.where)
        if query.where is not None and key not in masks:
            masks[key] = self.catalogue.mask(query.where)
        rows = np.array([row_of[id_] for _, id_ in products], np.int64)
        left_out = np.array([row_of[id_] for id_ in query.left_out], np.int64)
        return _Asked(query, weights, texts, images, products, rows, masks.get(key), left_out)

    def _embed(
        self, asked: Mapping[int, _Asked], on_error: OnError, report: Report, clock: list[float]
    ) -> dict[int, Signals]:
        """The signals of queries by number, without those of which something cannot be embedded."""
        texts = [(i, text) for i, one in asked.items() for text in one.texts]
        images = [(i, image) for i, one in asked.items() for image in one.images]
        bad_texts, bad_images = list[Failure](), list[Failure]()
        sources = [image for _, image in images]
        with _decoding(self.engine, sources if texts else []) as decoded:
            words = self.engine.embed_texts([text for _, text in texts], on_error=on_error, failures=bad_texts)
            clock.append(time.perf_counter())
            if decoded is not None and decoded.exception() is None:
                sources = [decoded.result()]
        pictures = self.engine.embed_images(sources, on_error=on_error, failures=bad_images)
        clock.append(time.perf_counter())
        broken = {}
        for owners, bad in ((texts, bad_texts), (images, bad_images)):
            for failure in bad:
                broken[owners[failure.index][0]] = failure
        for i, failure in broken.items():
            report(i, failure.source, InputError(failure.reason))
        text_owners, image_owners = (np.array([i for i, _ in owned]) for owned in (texts, images))
        return {
            i: collect(words[text_owners == i], pictures[image_owners == i], one.products, one.rows, one.weights)
            for i, one in asked.items()
            if i not in broken
        }

    def _answer(self, request: Request, signals: Signals, found: Found, took_ms: dict[str, float]) -> Recommendations:
        ids, source = self.catalogue.ids, Details(self.catalogue, self._statistics, request, signals, found)
        parts = zip(found.rows.tolist(), (found.fits - found.penalties).tolist(), found.relevance, strict=True)
        items = [
            Recommendation(ids[row], score, relevance, place, source)
            for place, (row, score, relevance) in enumerate(parts)
        ]
        return Recommendations(tuple(items), took_ms)


def _try(call: Callable[[], _Result]) -> _Result | InputError:
    try:
        return call()
    except InputError as error:
        return error


def _request(asked: _Asked, fused: Fused) -> Request:
    if not fused.mass.sum():
        raise InputError("weights: expected one above 0 for the signals of this query, found none")
    query = asked.query
    return Request(fused, asked.weights, int(query.k), asked.mask, asked.left_out, float(query.diversity))


@contextmanager
def _decoding(engine: Engine, images: Sequence[ImageSource]) -> Iterator[Future[Pixels] | None]:
    """Open the vision tower and decode a picture in another thread while the block runs.

    The engine itself decodes ahead where there are several.
    """
    if len(images) != 1:
        yield None
        return
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(_open_and_read, engine, images[0])


def _open_and_read(engine: Engine, image: ImageSource) -> Pixels:
    engine.towers.session("vision")
    return engine.read_image(image)
