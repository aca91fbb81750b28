"""Counts what an engine embeds."""

from __future__ import annotations

from typing import Any

import pytest
from clipshelf import Engine
from clipshelf.types import FloatArray


class EmbedCounter:
    """Lists the texts and images that `engine` embeds from now on."""

    def __init__(self, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
        self.texts: list[str] = []
        self.images: list[object] = []
        embed_texts, embed_images = engine.embed_texts, engine.embed_images

        def recording_texts(texts: list[str], **options: Any) -> FloatArray:
            self.texts += texts
            return embed_texts(texts, **options)

        def recording_images(images: list[Any], **options: Any) -> FloatArray:
            self.images += images
            return embed_images(images, **options)

        monkeypatch.setattr(engine, "embed_texts", recording_texts)
        monkeypatch.setattr(engine, "embed_images", recording_images)
