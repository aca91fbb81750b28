"""How fast this device answers: every stage of one query, with the runtime alone.

The query is a sentence and a 1000x1000 JPEG, the products random unit rows. Stages are noted inside whole queries.
`decode` and `preprocess` run in a thread beside `tokenise` and `text`, so these overlap; all else adds up:

    ready     from the start until pixels and the text's embedding are there; the four above lie in it
    vision    the picture's embedding
    fuse      both to one row
    rank      candidates, exact scores, relevance
    answer    the objects that are returned
    total     the sum of these five
"""

from __future__ import annotations

import io
import platform
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import onnxruntime as ort
from PIL import Image

from clipshelf.catalogue.catalogue import Catalogue
from clipshelf.catalogue.contents import bare
from clipshelf.model.engine import Engine
from clipshelf.recommend.recommender import Recommender
from clipshelf.runtime.session import available_cpus
from clipshelf.types import FloatArray

SENTENCE = "I love running shoes, especially those with great support and comfort."
OVERLAPPING = ("decode", "preprocess", "tokenise", "text")
_EDGE = 1000
_K = 10
_WARM = 5

Span: TypeAlias = tuple[float, float]


@dataclass(frozen=True)
class Stage:
    """Milliseconds of one stage."""

    name: str
    p50: float
    p95: float
    p99: float


@dataclass(frozen=True)
class Report:
    """Stages in the order of a query, and what they were measured on."""

    device: dict[str, Any]
    stages: tuple[Stage, ...]

    def to_dict(self) -> dict[str, Any]:
        """The object that `clipshelf bench --json` prints: stages by name, in milliseconds, and which overlap."""
        times = {stage.name: {k: v for k, v in asdict(stage).items() if k != "name"} for stage in self.stages}
        return {"device": self.device, "unit": "ms", "stages": times, "overlapping": list(OVERLAPPING)}

    def __str__(self) -> str:
        """A table for people."""
        device = self.device
        head = [
            f"{device['machine']}, {device['threads']} of {device['cpus']} CPUs, {device['provider']}, "
            f"onnxruntime {device['onnxruntime']}",
            f"model {device['model']}, {device['precision']}, {device['dim']} dims, {device['products']} products",
            "in a query ready + vision + fuse + rank + answer = total; indented stages overlap within ready",
            f"{'ms':12}{'p50':>9}{'p95':>9}{'p99':>9}",
        ]
        names = [f"  {stage.name}" if stage.name in OVERLAPPING else stage.name for stage in self.stages]
        stages = zip(names, self.stages, strict=True)
        return "\n".join(head + [f"{name:12}{s.p50:9.2f}{s.p95:9.2f}{s.p99:9.2f}" for name, s in stages])


def measure(engine: Engine, *, products: int = 10_000, runs: int = 100) -> Report:
    """Note every stage of `runs` queries, after a few that do not count, ranking among `products` random ones."""
    sides = _unit_rows(2 * products, engine.dim).reshape(products, 2 * engine.dim)
    recommender = Recommender(engine, Catalogue(bare(sides), engine.fingerprint, Path()))
    photo = _photo()
    with _noted(_methods(recommender)) as spans:
        queries = [_query(recommender, photo, spans) for _ in range(_WARM + runs)][_WARM:]
    stages = tuple(_stage(name, [query[name] for query in queries]) for name in queries[0])
    device = {
        "machine": f"{platform.machine()} {platform.system()}",
        "cpus": available_cpus(),
        "threads": engine.threads,
        "provider": engine.provider,
        "onnxruntime": ort.__version__,
        "python": platform.python_version(),
        "model": engine.fingerprint,
        "precision": engine.precision,
        "dim": engine.dim,
        "products": products,
        "runs": runs,
    }
    return Report(device, stages)


def _methods(recommender: Recommender) -> dict[str, tuple[object, str]]:
    """For each stage that is one call, the object and its method."""
    engine, towers = recommender.engine, recommender.engine.towers
    return {
        "decode": (engine._reader, "open"),
        "preprocess": (engine._reader, "square"),
        "tokenise": (towers.tokenizer(), "encode_parts"),
        "text": (towers.session("text"), "run"),
        "vision": (towers.session("vision"), "run"),
        "rank": (recommender._searcher, "search"),
    }


@contextmanager
def _noted(methods: Mapping[str, tuple[object, str]]) -> Iterator[dict[str, Span]]:
    """Start and end of the first call of each method since it was cleared; they are replaced while the block runs."""
    spans: dict[str, Span] = {}
    try:
        for stage, (owner, name) in methods.items():
            setattr(owner, name, _noting(stage, getattr(owner, name), spans))
        yield spans
    finally:
        for owner, name in methods.values():
            vars(owner).pop(name, None)


def _noting(stage: str, call: Callable[..., Any], spans: dict[str, Span]) -> Callable[..., Any]:
    def noting(*args: Any) -> Any:
        start = time.perf_counter()
        result = call(*args)
        spans.setdefault(stage, (start, time.perf_counter()))  # the square of pixels is taken for a picture once more
        return result

    return noting


def _query(recommender: Recommender, photo: bytes, spans: dict[str, Span]) -> dict[str, float]:
    """Milliseconds of every stage of one query."""
    spans.clear()
    start = time.perf_counter()
    recommender.recommend(SENTENCE, photo, k=_K)
    end = time.perf_counter()
    vision, rank = spans["vision"], spans["rank"]
    stages = {name: spans[name] for name in OVERLAPPING} | {
        "ready": (start, vision[0]),
        "vision": vision,
        "fuse": (vision[1], rank[0]),
        "rank": rank,
        "answer": (rank[1], end),
        "total": (start, end),
    }
    return {name: 1e3 * (last - first) for name, (first, last) in stages.items()}


def _stage(name: str, times: list[float]) -> Stage:
    return Stage(name, *(round(float(value), 4) for value in np.percentile(times, [50, 95, 99])))


def _photo() -> bytes:
    """A JPEG of smooth shapes with some grain, about as hard to decode as a photograph."""
    rng = np.random.default_rng(0)
    smooth = Image.fromarray(rng.integers(0, 256, (24, 24, 3), dtype=np.uint8)).resize((_EDGE, _EDGE))
    grain = rng.normal(0, 8, (_EDGE, _EDGE, 1))
    file = io.BytesIO()
    Image.fromarray(np.clip(np.asarray(smooth) + grain, 0, 255).astype(np.uint8)).save(file, "JPEG", quality=90)
    return file.getvalue()


def _unit_rows(count: int, dim: int) -> FloatArray:
    rows = np.random.default_rng(0).standard_normal((count, dim), dtype=np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows
