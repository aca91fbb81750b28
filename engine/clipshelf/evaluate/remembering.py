"""An engine that embeds each text and picture once, however often it is asked: settings share their sessions."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import Any

import numpy as np

from clipshelf.failures import Failure, OnError, check_on_error
from clipshelf.model.engine import Engine
from clipshelf.model.image import PreparedImage
from clipshelf.model.image_sources import CroppedImage
from clipshelf.timeline import Timeline
from clipshelf.types import FloatArray, ImageSource, Progress


class RememberingEngine(Engine):
    """An engine that keeps the embeddings of texts, and of pictures that are paths, URIs or bytes."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._texts: dict[Hashable, FloatArray] = {}
        self._images: dict[Hashable, FloatArray] = {}

    def embed_texts(
        self,
        texts: Iterable[str],
        *,
        on_error: OnError = "raise",
        progress: Progress | None = None,
        timeline: Timeline | None = None,
    ) -> FloatArray:
        """As `Engine.embed_texts`; progress counts what is new."""

        def embed(new: list[Any], policy: OnError) -> FloatArray:
            return super(RememberingEngine, self).embed_texts(
                new, on_error=policy, progress=progress, timeline=timeline
            )

        return self._remembered(self._texts, list(texts), embed, on_error)

    def embed_images(
        self,
        images: Iterable[ImageSource | CroppedImage | PreparedImage],
        *,
        on_error: OnError = "raise",
        progress: Progress | None = None,
        timeline: Timeline | None = None,
    ) -> FloatArray:
        """As `Engine.embed_images`; progress counts what is new."""

        def embed(new: list[Any], policy: OnError) -> FloatArray:
            return super(RememberingEngine, self).embed_images(
                new, on_error=policy, progress=progress, timeline=timeline
            )

        return self._remembered(self._images, list(images), embed, on_error)

    def _remembered(
        self,
        known: dict[Hashable, FloatArray],
        items: list[Any],
        embed: Callable[[list[Any], OnError], FloatArray],
        on_error: OnError,
    ) -> FloatArray:
        """Rows (n, D) of items, of which `embed` embeds the new ones; what fails is not kept, and fails again."""
        check_on_error(on_error)
        keys = [item if isinstance(item, (str, bytes)) else (position, None) for position, item in enumerate(items)]
        first = {key: position for position, key in reversed(list(enumerate(keys))) if key not in known}
        new = sorted(first.values())
        failed: set[int] = set()

        def report(failure: Failure) -> None:
            position = new[failure.index]
            for index, key in enumerate(keys):
                if key == keys[position]:
                    failed.add(index)
                    if on_error != "raise":
                        on_error(Failure(index, failure.source, failure.reason, failure.part))

        rows = embed([items[position] for position in new], "raise" if on_error == "raise" else report)
        fresh = {keys[position]: row for position, row in zip(new, rows, strict=True)}
        result: FloatArray = np.empty((len(items), self.dim), np.float32)
        for index, key in enumerate(keys):
            result[index] = fresh[key] if key in fresh else known[key]
        known.update(
            {key: row for key, row in fresh.items() if isinstance(key, (str, bytes)) and first[key] not in failed}
        )
        return result
