"""`clipshelf bench`: how fast this device answers, stage by stage, with the runtime alone.

The query is a sentence and a 1000x1000 JPEG; the products are random unit rows. The stages are those that the
recommender records of each answer. Decoding runs in a thread beside the text tower, so that these stages overlap; the
others add up:

    ready     from the start until pixels and the text's embedding are there; the four stages below lie in it
    vision    the picture's embedding
    fuse      both embeddings to one query vector
    rank      candidates, exact scores, relevance
    answer    records and explanations
    total     the sum of these five
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from clipshelf.catalogue.catalogue import Catalogue
from clipshelf.catalogue.contents import contents_of_rows
from clipshelf.cli.energy import Energy, EnergyBench
from clipshelf.model.engine import Engine
from clipshelf.plan.rates import Rates, measure_rates
from clipshelf.plan.samples import SENTENCE, photo, unit_rows
from clipshelf.recommend.recommender import Recommender
from clipshelf.runtime.cpus import available_cpus
from clipshelf.runtime.native import kernel_path
from clipshelf.runtime.providers import ONNXRUNTIME_VERSION
from clipshelf.timeline import Span

OVERLAPPING = ("decode", "preprocess", "tokenise", "text")
_K = 10
_WARM_UP = 5  # queries that do not count


@dataclass(frozen=True)
class Stage:
    """Percentiles of the duration of one stage, in milliseconds."""

    name: str
    p50: float
    p95: float
    p99: float


@dataclass(frozen=True)
class DeviceReport:
    """Stages in the order of a query, and the device that they were measured on."""

    device: dict[str, Any]
    stages: tuple[Stage, ...]
    energy: Energy | None = None
    rates: Rates | None = None

    def to_dict(self) -> dict[str, Any]:
        """The JSON object of `clipshelf bench --json`: stages by name, in milliseconds, and which of them overlap.

        With energy, also that of an answer, in joules; with rates, also what `clipshelf plan` reads, in seconds.
        """
        times = {stage.name: {k: v for k, v in asdict(stage).items() if k != "name"} for stage in self.stages}
        energy = {} if self.energy is None else {"energy": asdict(self.energy)}
        rates = {} if self.rates is None else {"rates": self.rates.to_dict()}
        return {
            "device": self.device,
            "unit": "ms",
            "stages": times,
            "overlapping": list(OVERLAPPING),
            **energy,
            **rates,
        }

    def __str__(self) -> str:
        """A table for a terminal."""
        device = self.device
        head = [
            f"{device['machine']}, {device['threads']} of {device['cpus']} CPUs, {device['provider']}, "
            f"onnxruntime {device['onnxruntime']}, kernels {device['kernels'] or 'none'}",
            f"model {device['model']}, {device['precision']}, {device['dim']} dims, {device['products']} products",
            "in a query ready + vision + fuse + rank + answer = total; indented stages overlap within ready",
            f"{'ms':12}{'p50':>9}{'p95':>9}{'p99':>9}",
        ]
        names = [f"  {stage.name}" if stage.name in OVERLAPPING else stage.name for stage in self.stages]
        stages = zip(names, self.stages, strict=True)
        rows = [f"{name:12}{s.p50:9.2f}{s.p95:9.2f}{s.p99:9.2f}" for name, s in stages]
        return "\n".join(head + rows + [str(more) for more in (self.energy, self.rates) if more is not None])


def measure(
    engine: Engine, *, products: int = 10_000, runs: int = 100, energy: EnergyBench | None = None, rates: bool = False
) -> DeviceReport:
    """Answer `runs` queries among `products` random products, and report how long each stage took.

    - `energy`: measures the energy of these queries, too.
    - `rates`: whether to measure the rates of this machine, too.
    """
    sides = unit_rows(2 * products, engine.dim).reshape(products, 2 * engine.dim)
    recommender = Recommender(engine, Catalogue(contents_of_rows(sides), engine.fingerprint, Path()))
    picture = photo()
    for _ in range(_WARM_UP):
        recommender.recommend(SENTENCE, picture, k=_K)
    with nullcontext() if energy is None else energy.answers:
        answers = [recommender.recommend(SENTENCE, picture, k=_K) for _ in range(runs)]
    durations = [_durations(answer.stages, answer.took_ms["total"]) for answer in answers]
    stages = tuple(_stage(name, [query[name] for query in durations]) for name in durations[0])
    device = {
        "machine": f"{platform.machine()} {platform.system()}",
        "cpus": available_cpus(),
        "threads": engine.threads,
        "provider": engine.provider,
        "kernels": kernel_path(),
        "onnxruntime": ONNXRUNTIME_VERSION,
        "python": platform.python_version(),
        "model": engine.fingerprint,
        "precision": engine.precision,
        "dim": engine.dim,
        "products": products,
        "runs": runs,
    }
    joules = None if energy is None else energy.result(runs)
    return DeviceReport(device, stages, joules, measure_rates(engine) if rates else None)


def _durations(spans: Mapping[str, Span], total: float) -> dict[str, float]:
    """Milliseconds of every stage of one query, of which all but the overlapping ones add up to the total."""
    vision, search = spans["vision"], spans["search"]
    stages = {name: spans[name] for name in OVERLAPPING} | {
        "ready": (0.0, vision[0]),
        "vision": vision,
        "fuse": (vision[1], search[0]),
        "rank": search,
        "answer": (search[1], total),
        "total": (0.0, total),
    }
    return {name: end - start for name, (start, end) in stages.items()}


def _stage(name: str, milliseconds: list[float]) -> Stage:
    return Stage(name, *(round(float(value), 4) for value in np.percentile(milliseconds, [50, 95, 99])))
