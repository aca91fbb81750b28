"""The straight line from queries to recommendations."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, wait
from contextlib import contextmanager
from functools import partial
from typing import Any

from clipshelf.catalogue.catalogue import Catalogue
from clipshelf.catalogue.filters import Where
from clipshelf.catalogue.statistics import Statistics
from clipshelf.errors import InputError
from clipshelf.model.engine import Engine, Failure, OnError, Report, reporter
from clipshelf.recommend.answers import Recommendation, Recommendations
from clipshelf.recommend.details import Details
from clipshelf.recommend.profile import Likes, Profile, Time, is_number
from clipshelf.recommend.query import Images, Query, Texts, Weights
from clipshelf.recommend.resolve import Asked, check_all, try_
from clipshelf.recommend.search import Found, Request, Searcher
from clipshelf.recommend.signals import Fused, Signals, collect, fuse
from clipshelf.types import FloatArray, ImageSource, Pixels
from clipshelf.workers import Workers, batches

_DAY = 86_400.0
_AT_A_TIME = 128  # queries at most that are fused, searched for and answered together
_SEARCHES = 2  # searches at the same time, so that one has the cores while the other settles what it found


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
        if not is_number(half_life) or not half_life > 0:
            raise InputError(f"half_life: expected days above 0, found {half_life!r}")
        self.engine = engine
        self.catalogue = catalogue
        self.weights = Weights.of(weights, Weights())
        self.half_life = half_life
        self._statistics = catalogue.statistics if gap_correction else Statistics.none(catalogue.dim)
        self._decoders = Workers()  # apart from the engine's, behind whose many pictures a query would wait
        self._searches = Workers(_SEARCHES)
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
        exclude: Iterable[str] = (),
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
        as `clipshelf.catalogue.filters` or, in words, `clipshelf.catalogue.filter_parser` explains; `exclude` has ids.
        `weights` changes some weights by name; what has no weight is never embedded. `diversity`, 0 to 1, trades fit
        for variety, as `clipshelf.recommend.diversity` explains. `clipshelf.recommend.signals` says what a score is.

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
        asked: dict[int, Asked] = {}
        count = 0
        checked = check_all(queries, k, self.catalogue, self.weights, self.half_life * _DAY)
        for count, one in enumerate(checked, 1):
            if isinstance(one, InputError):
                report(count - 1, "query", one)
            else:
                asked[count - 1] = one
        signals = self._embed(asked, on_error, report, clock)
        took_ms: dict[str, float] = {}
        answers = [Recommendations((), took_ms)] * count
        for i, request, found in self._rank(asked, signals, report):
            answers[i] = self._answer(request, signals[i], found, took_ms)
        clock.append(time.perf_counter())
        stages = zip(("embed_text", "embed_image", "rank"), clock, clock[1:], strict=False)
        took_ms |= {name: round(1e3 * (end - start), 3) for name, start, end in stages}
        took_ms["total"] = round(1e3 * (clock[-1] - clock[0]), 3)
        return answers

    def _embed(
        self, asked: Mapping[int, Asked], on_error: OnError, report: Report, clock: list[float]
    ) -> dict[int, Signals]:
        """The signals of queries by number, without those of which something cannot be embedded."""
        texts = [(i, text) for i, one in asked.items() for text in one.texts]
        images = [(i, image) for i, one in asked.items() for image in one.images]
        bad_texts, bad_images = list[Failure](), list[Failure]()
        sources = [image for _, image in images]
        with _decoding(self.engine, sources if texts else [], self._decoders) as decoded:
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
        return {i: own for i, own in zip(asked, _collected(asked, words, pictures), strict=True) if i not in broken}

    def _rank(
        self, asked: Mapping[int, Asked], signals: Mapping[int, Signals], report: Report
    ) -> Iterator[tuple[int, Request, Found]]:
        """Number, request and what was found of each query.

        Some are searched for in other threads while those before them are answered and those after them fused.
        """
        # in parts of one size, so that no thread waits for the last of them
        size = math.ceil(len(signals) / math.ceil(len(signals) / _AT_A_TIME)) if signals else 1
        parts = (self._requests(some, asked, signals, report) for some in batches(signals, size))
        for requests, found in self._searches.map_ahead(self._search, parts, depth=_SEARCHES):
            yield from zip(requests, requests.values(), found, strict=True)

    def _requests(
        self, some: Sequence[int], asked: Mapping[int, Asked], signals: Mapping[int, Signals], report: Report
    ) -> dict[int, Request]:
        """Some queries, fused, without those that have no weight."""
        weights = [asked[i].weights for i in some]
        fused = fuse([signals[i] for i in some], weights, self.catalogue, self._statistics)
        requests: dict[int, Request] = {}
        for i, one in zip(some, fused, strict=True):
            request = try_(partial(_request, asked[i], one, len(self.catalogue)))
            if isinstance(request, InputError):
                report(i, "query", request)
            else:
                requests[i] = request
        return requests

    def _search(self, requests: dict[int, Request]) -> tuple[dict[int, Request], list[Found]]:
        return requests, self._searcher.search([*requests.values()])

    def _answer(self, request: Request, signals: Signals, found: Found, took_ms: dict[str, float]) -> Recommendations:
        ids, source = self.catalogue.ids, Details(self.catalogue, self._statistics, request, signals, found)
        scores = found.fits - found.penalties
        parts = zip(found.rows.tolist(), scores.tolist(), found.relevance.tolist(), strict=True)
        items = [
            Recommendation(ids[row], score, relevance, place, source)
            for place, (row, score, relevance) in enumerate(parts)
        ]
        return Recommendations(tuple(items), took_ms)


def _collected(asked: Mapping[int, Asked], words: FloatArray, pictures: FloatArray) -> Iterator[Signals]:
    """The signals of each query, from embeddings (T, D) and (P, D) of their texts and pictures in turn."""
    text = image = 0
    for one in asked.values():
        texts, images = (words[text : text + len(one.texts)], pictures[image : image + len(one.images)])
        text, image = text + len(one.texts), image + len(one.images)
        yield collect(texts, images, one.products, one.rows, one.weights)


def _request(asked: Asked, fused: Fused, products: int) -> Request:
    if not fused.mass.sum():
        raise InputError(
            "query: expected a signal that counts, found only such as have a weight of 0, three stars, or long faded"
        )
    query, k = asked.query, min(int(asked.query.k), products or 1)
    return Request(fused, asked.weights, k, asked.mask, asked.left_out, float(query.diversity))


@contextmanager
def _decoding(engine: Engine, images: Sequence[ImageSource], workers: Workers) -> Iterator[Future[Pixels] | None]:
    """Open the vision tower and decode a picture in another thread while the block runs.

    The engine itself decodes ahead where there are several.
    """
    if len(images) != 1:
        yield None
        return
    decoded = workers.submit(partial(_open_and_read, engine), images[0])
    try:
        yield decoded
    finally:
        wait([decoded])


def _open_and_read(engine: Engine, image: ImageSource) -> Pixels:
    engine.towers.session("vision")
    return engine.read_image(image)
