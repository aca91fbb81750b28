"""Texts and pictures to embeddings: what a batch of waiting inputs is computed by, in a thread."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from clipshelf.failures import Failure
from clipshelf.model.engine import Engine
from clipshelf.model.image import PreparedImage
from clipshelf.serve.problems import ProblemError
from clipshelf.types import FloatArray


@dataclass(frozen=True)
class ToEmbed:
    """A text or a picture that waits for its embedding.

    - `engine`: the model that was current when it came, for which a picture was decoded.
    """

    engine: Engine
    source: str | PreparedImage


def embed(items: Sequence[ToEmbed]) -> list[FloatArray | Exception]:
    """Embed n texts and pictures together, those of each model apart.

    Returns for each its (D,) float32 embedding, or ProblemError for one that cannot be embedded.
    """
    results: dict[int, FloatArray | Exception] = {}
    for engine in {id(item.engine): item.engine for item in items}.values():
        positions = [position for position, item in enumerate(items) if item.engine is engine]
        rows = _embed(engine, [items[position].source for position in positions])
        results |= zip(positions, rows, strict=True)
    return [results[position] for position in range(len(items))]


def _embed(engine: Engine, sources: Sequence[str | PreparedImage]) -> list[FloatArray | Exception]:
    results: dict[int, FloatArray | Exception] = {}
    texts = [(position, source) for position, source in enumerate(sources) if isinstance(source, str)]
    pictures = [(position, source) for position, source in enumerate(sources) if isinstance(source, PreparedImage)]
    failures: list[Failure] = []
    embeds = engine.embed_texts([text for _, text in texts], on_error=failures.append)
    results |= {position: row for (position, _), row in zip(texts, embeds, strict=True)}
    for failure in failures:
        results[texts[failure.index][0]] = ProblemError(422, "bad-request", f"input: {failure.reason}")
    embeds = engine.embed_images([picture for _, picture in pictures])
    results |= {position: row for (position, _), row in zip(pictures, embeds, strict=True)}
    return [results[position] for position in range(len(sources))]
