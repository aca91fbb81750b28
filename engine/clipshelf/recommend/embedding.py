"""Texts and pictures of queries to signals: embedded in batches, a single picture decoded beside the texts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, wait
from contextlib import contextmanager
from functools import partial

from clipshelf.display import printable
from clipshelf.errors import InputError
from clipshelf.failures import Failure, OnError, handle
from clipshelf.model.engine import Engine
from clipshelf.recommend.resolve import ResolvedQuery
from clipshelf.recommend.signals import Signals, collect_signals
from clipshelf.runtime.thread_limit import ThreadLimit
from clipshelf.timeline import Timeline
from clipshelf.types import FloatArray, ImageSource, Pixels
from clipshelf.workers import Workers


class QueryEmbedder:
    """Embeds queries with one engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        # The engine's own decoders may be busy with many pictures, behind which the one of a query would wait.
        self._decoders = Workers()

    def embed(self, queries: Mapping[int, ResolvedQuery], on_error: OnError, timeline: Timeline) -> dict[int, Signals]:
        """Signals of queries by index.

        - `queries`: resolved queries by index.
        - `on_error`: the error policy; a query fails when one of its texts or pictures cannot be embedded.
        - `timeline`: records the engine's stages, and the laps "embed_text" and "embed_image".

        Returns the signals of the queries that did not fail.
        """
        texts = [(index, text) for index, query in queries.items() for text in query.texts]
        images = [(index, image) for index, query in queries.items() for image in query.images]
        failures: dict[int, Failure] = {}

        def policy(items: Sequence[tuple[int, object]]) -> OnError:
            if on_error == "raise":
                return "raise"
            return lambda failure: failures.setdefault(items[failure.index][0], failure)

        with self._decoding([image for _, image in images] if texts else [], timeline) as decoded:
            text_embeds = self._engine.embed_texts(
                [text for _, text in texts], on_error=policy(texts), timeline=timeline
            )
            timeline.lap("embed_text")
        if decoded is not None and decoded.exception() is None:
            image_embeds = self._engine.embed_pixels(decoded.result()[None], timeline=timeline)
        else:
            image_embeds = self._engine.embed_images(
                [image for _, image in images], on_error=policy(images), timeline=timeline
            )
        timeline.lap("embed_image")
        for index, failure in failures.items():
            handle(on_error, index, failure.source, InputError(printable(failure.reason)))
        signals = zip(queries, _split(queries.values(), text_embeds, image_embeds), strict=True)
        return {index: signals_of_query for index, signals_of_query in signals if index not in failures}

    @contextmanager
    def _decoding(self, images: Sequence[ImageSource], timeline: Timeline) -> Iterator[Future[Pixels] | None]:
        """Open the vision tower and decode a single picture in another thread while the block runs.

        Kernels that the block runs leave a core to that thread until it is done.
        Of several pictures, the engine itself decodes the next ones while it embeds the first.
        """
        if len(images) != 1:
            yield None
            return
        limit = ThreadLimit(self._engine.threads - 1)
        decoded = self._decoders.submit(partial(self._open_and_read, timeline), images[0])
        decoded.add_done_callback(lambda _: limit.lift())
        try:
            with limit.applied():
                yield decoded
        finally:
            wait([decoded])

    def _open_and_read(self, timeline: Timeline, image: ImageSource) -> Pixels:
        self._engine.towers.session("vision")
        return self._engine.read_image(image, timeline=timeline)


def _split(queries: Iterable[ResolvedQuery], text_embeds: FloatArray, image_embeds: FloatArray) -> Iterator[Signals]:
    """Signals of each query, from embeddings (t, D) and (i, D) of the texts and pictures of all queries in turn."""
    text = image = 0
    for query in queries:
        texts = text_embeds[text : text + len(query.texts)]
        images = image_embeds[image : image + len(query.images)]
        text, image = text + len(query.texts), image + len(query.images)
        yield collect_signals(texts, images, query.products, query.rows, query.weights)
