"""How fast this device answers: every stage of one query, with the runtime alone.

The query is a sentence and a 1000x1000 JPEG, the products random unit rows. Stages are timed one after another, and
`total` is the whole query through the engine.
"""

from __future__ import annotations

import io
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from PIL import Image

from clipshelf.catalogue import Catalogue
from clipshelf.catalogue.draft import bare
from clipshelf.engine import Engine
from clipshelf.image import ImageReader
from clipshelf.rank import Ranker
from clipshelf.recommender import Recommender
from clipshelf.session import available_cpus
from clipshelf.signals import collect, fuse
from clipshelf.types import FloatArray

SENTENCE = "I love running shoes, especially those with great support and comfort."
_EDGE = 1000
_K = 10
_WARM = 5


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
        """The object that `clipshelf bench --json` prints: stages by name, in milliseconds."""
        times = {stage.name: {k: v for k, v in asdict(stage).items() if k != "name"} for stage in self.stages}
        return {"device": self.device, "unit": "ms", "stages": times}

    def __str__(self) -> str:
        """A table for people."""
        device = self.device
        head = [
            f"{device['machine']}, {device['threads']} of {device['cpus']} CPUs, {device['provider']}, "
            f"onnxruntime {device['onnxruntime']}",
            f"model {device['model']}, {device['precision']}, {device['dim']} dims, {device['products']} products",
            f"{'ms':12}{'p50':>9}{'p95':>9}{'p99':>9}",
        ]
        return "\n".join(head + [f"{s.name:12}{s.p50:9.2f}{s.p95:9.2f}{s.p99:9.2f}" for s in self.stages])


def measure(engine: Engine, *, products: int = 10_000, runs: int = 100) -> Report:
    """Time every stage `runs` times, after a few that do not count, ranking among `products` random ones."""
    sides = _unit_rows(2 * products, engine.dim).reshape(products, 2 * engine.dim)
    catalogue = Catalogue(bare(sides), engine.fingerprint, Path())
    stages = tuple(_timed(name, call, runs) for name, call in _stages(engine, catalogue).items())
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


def _stages(engine: Engine, catalogue: Catalogue) -> dict[str, Callable[[], object]]:
    """Each stage as a call on what the stage before it gave."""
    manifest = engine.artifact.manifest
    towers = engine.towers
    tokenizer, vision, text = towers.tokenizer(), towers.session("vision"), towers.session("text")
    reader, photo = ImageReader(manifest.image), _photo()
    decoded = reader.open(photo)  # JPEG decodes smaller when a smaller picture will do
    pixels = reader.square(decoded)[None]
    ids = tokenizer.encode([SENTENCE])[0][None]
    feeds = {"input_ids": ids} | ({"attention_mask": np.ones_like(ids)} if manifest.text.attention_mask else {})
    ranker, query = Ranker(catalogue.embeddings, threads=engine.threads), catalogue.embeddings[:1]
    recommender = Recommender(engine, catalogue)
    words, picture = text.run(feeds), vision.run({"pixels": pixels})
    weights, statistics = recommender.weights, catalogue.statistics

    def fused() -> object:
        signals = collect(words, picture, {}, np.array([], np.int64), weights)
        return fuse([signals], [weights], catalogue, statistics)

    return {
        "decode": lambda: reader.open(photo),
        "preprocess": lambda: reader.square(decoded),
        "vision": lambda: vision.run({"pixels": pixels}),
        "tokenise": lambda: tokenizer.encode([SENTENCE]),
        "text": lambda: text.run(feeds),
        "fuse": fused,
        "rank": lambda: ranker.top_k(query, _K),
        "total": lambda: recommender.recommend(SENTENCE, photo, k=_K),
    }


def _timed(name: str, call: Callable[[], object], runs: int) -> Stage:
    times = []
    for _ in range(_WARM + runs):
        start = time.perf_counter()
        call()
        times.append(1e3 * (time.perf_counter() - start))
    return Stage(name, *(round(float(value), 4) for value in np.percentile(times[_WARM:], [50, 95, 99])))


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
