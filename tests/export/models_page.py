"""Make docs/models.md, the table of models: their published shapes, and what was measured on towers of these shapes.

    python tests/export/models_page.py             # write the page
    python tests/export/models_page.py NAME...     # measure these models first (all: every model)

What was measured is kept in docs/models.json, by the model.
"""

from __future__ import annotations

import json
import platform
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from clipshelf.runtime.cpus import available_cpus
from clipshelf.runtime.native import load_kernels
from clipshelf_export.checkpoints.towers import PatchEmbedding, Transformer
from clipshelf_export.graphs.build import write_graph
from clipshelf_export.graphs.plan import Int8Params, Plan
from clipshelf_export.int8.calibration import collect_statistics
from clipshelf_export.int8.ranges import choose_params
from clipshelf_export.int8.sites import iterate_sites, uncalibrated_sites
from clipshelf_export.measure.sessions import open_session
from published_models import MODELS, Model, RandomTowers, Text, Vision

DOCS = Path(__file__).parents[2] / "docs"
PAGE, MEASURED = DOCS / "models.md", DOCS / "models.json"
# Inputs that set the ranges of int8, timed runs, and the tokens of the timed text.
SAMPLES, RUNS, TOKENS = 4, 15, 12
HEAD = """# Models

<!-- Made by tests/export/models_page.py. Change that file, not this one. -->

Models of each family that `clipshelf export` reads. Any other checkpoint of a family works too; [export.md](export.md) has what
the families need, and [the vocabulary](export.md#a-smaller-vocabulary) how large tables of tokens become small.

| on the hub | family | licence | languages | D | pixels | weights, millions | int8, MB | picture, ms | text, ms |
|---|---|---|---|---:|---:|---:|---:|---:|---:|
"""  # noqa: E501 - a row of a table is one line
FOOT = """
- **Licence, languages**: from the authors' source repositories, MTEB's list of models, and projects that ship the
  weights, not from the model cards. A dagger (†) marks an entry that none of these confirms. The licence that counts is
  the card's, which the export shows.
- **Weights**: of pictures + texts. The shapes are those of open_clip's configurations (3.3.0), of the defaults of
  `AltCLIPConfig`, and of the table in the README of Chinese-CLIP.
- **int8, ms**: towers of these shapes with random weights and all linears in int8; trained ones have the same size
  and speed. One picture as pixels, and one text of {tokens} tokens (SigLIP always computes 64), the median of {runs}
  runs on {machine}. "—" is not measured. clip-vit-large-patch14 and AltCLIP
  are of a later run, of three processes each; the first had taken 101.0 and 3.25 ms with the others.
- **Fidelity**: the export measures each model that it writes. fp32 agrees with the original within 1e-5 in every
  component, and int8 keeps 0.97 of the ten nearest neighbours, or the export fails. The table has no
  fidelity of trained models; `clipshelf info` shows that of yours. How well a model finds products is the original's
  quality.
"""


def render() -> str:
    """Return the text of docs/models.md."""
    measured = json.loads(MEASURED.read_text(encoding="utf-8"))
    rows = []
    for model in MODELS:
        names = [name for name in _same_shapes(model) if name in measured["models"]]
        numbers: dict[str, Any] = measured["models"][names[0]] if names else {}
        weights = f"{count_vision(model.vision, model.dim) / 1e6:.0f} + {count_text(model.text, model.dim) / 1e6:.0f}"
        values = (str(numbers.get(key, "—")) for key in ("int8_mb", "picture_ms", "text_ms"))
        cells = (model.name, model.family, model.licence, model.languages, model.dim, model.vision.size, weights)
        rows.append("| " + " | ".join([*map(str, cells), *values]) + " |")
    return HEAD + "\n".join(rows) + "\n" + FOOT.format(tokens=TOKENS, runs=RUNS, machine=measured["machine"])


def _same_shapes(model: Model) -> list[str]:
    """Return the names of the models with the shapes of `model`, its own first."""
    shapes = (model.vision, model.text, model.dim)
    return [model.name, *(other.name for other in MODELS if (other.vision, other.text, other.dim) == shapes)]


def count_vision(shape: Vision, dim: int) -> int:
    """Return the weights of a vision tower."""
    width, grid = shape.width, (shape.size // shape.patch) ** 2
    first = width * (3 * shape.patch**2 + 1 + grid)
    if shape.siglip:
        return first + _count_layers(width, shape.layers) + 2 * width + _count_layers(width, 1) - width
    return first + 2 * width + _count_layers(width, shape.layers) + 4 * width + width * dim


def count_text(shape: Text, dim: int) -> int:
    """Return the weights of a text tower."""
    rows = shape.vocabulary + shape.context
    return shape.width * (rows + dim) + _count_layers(shape.width, shape.layers) + 2 * shape.width


def _count_layers(width: int, layers: int) -> int:
    return layers * (12 * width * width + 13 * width)


def measure(model: Model) -> dict[str, Any]:
    """Return the megabytes of a model's int8 graphs, and the milliseconds of a run of each."""
    towers = RandomTowers()
    picture = _measure_tower(towers.vision(model.vision, model.dim))
    text = _measure_tower(towers.text(model.text, model.dim))
    return {"int8_mb": round((picture[0] + text[0]) / 1e6), "picture_ms": picture[1], "text_ms": text[1]}


def _measure_tower(tower: Transformer) -> tuple[int, float]:
    """Return the bytes of an int8 graph of a tower with its weights, and the median milliseconds of a run."""
    kernels, threads = load_kernels(), available_cpus()
    inputs = _make_inputs(tower)
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "tower.onnx"
        statistics_by_site = collect_statistics(tower, inputs, Path(name) / "fp32.onnx", threads, "")
        chosen: dict[str, Int8Params] = {}
        for site in iterate_sites(tower, chosen):
            choice = choose_params(statistics_by_site[site.name], site.linear, transform=site.foldable, outliers=0)
            chosen[site.name] = choice.params
        write_graph(tower, Plan("int8", {**uncalibrated_sites(tower), **chosen}), path)
        size = sum(file.stat().st_size for file in path.parent.glob("tower.onnx*"))
        session = open_session(path, threads, kernels)
        feeds = {value.name: inputs[0][None] for value in session.get_inputs()}
        if "attention_mask" in feeds:
            feeds["attention_mask"] = np.ones_like(feeds["input_ids"])
        times = []
        for _ in range(RUNS + 1):  # the first one is not counted
            start = time.perf_counter()
            session.run(None, feeds)
            times.append(1000 * (time.perf_counter() - start))
    return size, float(f"{statistics.median(times[1:]):.3g}")


def _make_inputs(tower: Transformer) -> list[Any]:
    """Return random pictures, or random texts that end with the largest id."""
    rng, embedding = np.random.default_rng(1), tower.embedding
    if isinstance(embedding, PatchEmbedding):
        return [*rng.integers(0, 256, (SAMPLES, embedding.size, embedding.size, 3), np.uint8)]
    texts = rng.integers(1, len(embedding.tokens) - 1, (SAMPLES, TOKENS))
    texts[:, -1] = len(embedding.tokens) - 1
    return [*texts]


def main(names: list[str]) -> None:
    """Measure the models of these names, and write the page."""
    measured = json.loads(MEASURED.read_text(encoding="utf-8")) if MEASURED.is_file() else {"models": {}}
    for model in MODELS:
        if model.name in names or names == ["all"]:
            measured["models"][model.name] = measure(model)
            kernels = load_kernels()
            path = "onnxruntime's kernels" if kernels is None else f"the native kernels ({kernels.instruction_set})"
            measured["machine"] = f"{available_cpus()} CPUs ({platform.machine()}) with {path}"
            MEASURED.write_text(json.dumps(measured, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
            print(model.name, measured["models"][model.name], flush=True)
    PAGE.write_text(render(), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
