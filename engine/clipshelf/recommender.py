"""The straight line from a query to recommendations."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from clipshelf.catalogue import Catalogue
from clipshelf.engine import Engine
from clipshelf.errors import InputError
from clipshelf.query import Weights, fuse
from clipshelf.rank import Ranker
from clipshelf.types import ImageSource, Pixels, Product


@dataclass(frozen=True)
class Recommendation:
    """One product and its score: a weighted mean of cosines, higher is better."""

    id: str
    score: float
    product: Product


@dataclass(frozen=True)
class Recommendations:
    """Products that fit a query, best first, and how long each stage took in milliseconds."""

    items: tuple[Recommendation, ...]
    took_ms: dict[str, float]

    def __iter__(self) -> Iterator[Recommendation]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Recommendation:
        return self.items[index]

    def __str__(self) -> str:
        """A table for people: rank, score, id and text."""
        width = max((len(item.id) for item in self.items), default=0)
        lines = [
            f"{rank:3}  {item.score:6.3f}  {item.id:{width}}  {item.product.get('text', '')}".rstrip()
            for rank, item in enumerate(self.items, 1)
        ]
        return "\n".join([*lines, f"     {self.took_ms['total']:.1f} ms"])

    def to_dict(self) -> dict[str, Any]:
        """The object that `clipshelf recommend --json` prints."""
        items = [{"id": item.id, "score": item.score, "product": item.product} for item in self.items]
        return {"recommendations": items, "took_ms": self.took_ms}


class Recommender:
    """Answers queries from one catalogue with the engine that embedded it."""

    def __init__(self, engine: Engine, catalogue: Catalogue, *, weights: Weights | None = None) -> None:
        catalogue.require(engine)
        self.engine = engine
        self.catalogue = catalogue
        self.weights = weights or Weights()
        self._ranker = Ranker(catalogue.embeddings)

    def recommend(self, text: str | None = None, image: ImageSource | None = None, k: int = 10) -> Recommendations:
        """The k products that fit a text, an image or both.

        Raises InputError when there is neither, when `text` is blank or when `image` cannot be read.
        """
        if text is not None and not text.strip():
            raise InputError("text: expected words, found a blank string")
        clock = [time.perf_counter()]
        with _decoding(self.engine, image if text is not None else None) as decoded:
            text_embed = None if text is None else self.engine.embed_texts([text])[0]
            clock.append(time.perf_counter())
            picture = image if decoded is None else decoded.result()
        image_embed = None if picture is None else self.engine.embed_images([picture])[0]
        clock.append(time.perf_counter())
        scores, rows = self._ranker.top_k(fuse(text_embed, image_embed, self.weights), k)
        clock.append(time.perf_counter())
        stages = zip(("embed_text", "embed_image", "rank"), clock, clock[1:], strict=False)
        took_ms = {name: round(1e3 * (end - start), 3) for name, start, end in stages}
        took_ms["total"] = round(1e3 * (clock[-1] - clock[0]), 3)
        products = [self.catalogue.products[row] for row in rows[0].tolist()]
        items = tuple(
            Recommendation(product["id"], float(score), product)
            for score, product in zip(scores[0], products, strict=True)
        )
        return Recommendations(items, took_ms)


@contextmanager
def _decoding(engine: Engine, image: ImageSource | None) -> Iterator[Future[Pixels] | None]:
    """Decode a picture in another thread while the block runs."""
    if image is None:
        yield None
        return
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(engine.read_image, image)
