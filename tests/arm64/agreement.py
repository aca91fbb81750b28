"""Compares what two machines compute: one writes its answers to a file, the other one computes its own and compares.

    agreement.py write FILE
    agreement.py compare FILE [--pictures]

docs/edge.md states the bounds. Pictures are compared on request, since an emulated CPU takes seconds for each.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from clipshelf import Engine
from clipshelf.bundled import queries_path
from clipshelf.model.artifact import TowerName
from clipshelf.rank.ranker import Ranker
from clipshelf.runtime.session import ONNXRUNTIME

Answers: TypeAlias = dict[str, npt.NDArray[Any]]

REFERENCE = Path(__file__).parents[1] / "reference/artifact"
TEXTS = [
    "I love running shoes, especially those with great support and comfort.",
    "a warm winter jacket",
    "Smartwatch mit Pulsmesser, schwarz, 42 mm",
    "t-shirt",
    "Teapot. Holds two cups; dishwasher safe, but the lid is not.",
    "",
]
# The largest difference between two numbers of an embedding without the native kernels. Nothing else may differ.
BOUNDS = {
    "default texts": 5e-3,  # a rounding of a norm moves a uint8 by one step, and later layers spread that
    "default pictures": 1e-6,
    "reference texts": 1e-6,
    "reference pictures": 1e-6,
}


def reference_pixels() -> npt.NDArray[np.uint8]:
    """Pictures (4, S, S, 3) of smooth noise for the reference artifact."""
    size = Engine.load(REFERENCE, threads=1).artifact.manifest.image.size
    coarse = np.random.default_rng(1).integers(0, 256, (4, 4, 4, 3))
    return np.kron(coarse, np.ones((1, -(-size // 4), -(-size // 4), 1)))[:, :size, :size].astype(np.uint8)


def rankings() -> Answers:
    """Scores and rows of the best products in matrices that are scanned in float32 and in int8."""
    rng = np.random.default_rng(2)
    answers: Answers = {}
    for kind, shape in {"small": (999, 96), "large": (20_000, 128)}.items():
        matrix, queries = rng.standard_normal(shape, np.float32), rng.standard_normal((3, shape[1]), np.float32)
        scores, rows = Ranker(matrix, threads=1).top_k(queries, 20)
        answers |= {f"scores, {kind}": scores, f"rows, {kind}": rows}
    return answers


COMPUTED: dict[str, Callable[[], Answers]] = {
    "texts": lambda: {"default texts": Engine.load(threads=1).embed_texts(TEXTS)},
    "reference": lambda: {
        "reference texts": Engine.load(REFERENCE, threads=1).embed_texts(TEXTS),
        "reference pictures": Engine.load(REFERENCE, threads=1).embed_pixels(reference_pixels()),
    },
    "pixels": lambda: {"pixels": Engine.load(threads=1).read_image(queries_path() / "sneaker.jpg")},
    "rankings": rankings,
    "pictures": lambda: {"default pictures": Engine.load(threads=1).embed_images([queries_path() / "sneaker.jpg"])},
}


def kernel_answers() -> list[str]:
    """The names of the answers that native kernels compute here."""
    engines = {"default": Engine.load(threads=1), "reference": Engine.load(REFERENCE, threads=1)}
    towers: dict[str, TowerName] = {"texts": "text", "pictures": "vision"}
    return [
        f"{artifact} {answer}"
        for artifact, engine in engines.items()
        for answer, tower in towers.items()
        if engine.kernels[tower] != ONNXRUNTIME
    ]


def compare(file: Path, *, pictures: bool) -> bool:
    """Print how far each answer of this machine is from that in `file`; return whether all are within the bounds.

    An answer may not differ at all where native kernels compute it on both machines.
    """
    with np.load(file) as stored:
        other = dict(stored)
    exact = set(other.pop("kernels")) & set(kernel_answers())
    print(f"  native kernels on both machines: {', '.join(sorted(exact)) or 'nowhere'}")
    agree = True
    for name, compute in COMPUTED.items():
        if name == "pictures" and not pictures:
            continue
        for answer, values in compute().items():
            bound = 0 if answer in exact else BOUNDS.get(answer, 0)
            difference = float(np.abs(values.astype(np.float64) - other[answer]).max())
            agree = agree and difference <= bound
            verdict = "" if difference <= bound else "   TOO FAR"
            print(f"  {answer:20} differs by {difference:.1e}, at most {bound:.0e}{verdict}", flush=True)
    return agree


def main(arguments: list[str]) -> int:
    """Run the command line that the module's head shows."""
    action, file, *options = arguments
    if action == "write":
        answers = {name: values for compute in COMPUTED.values() for name, values in compute().items()}
        np.savez(file, allow_pickle=False, kernels=np.array(kernel_answers(), dtype=str), **answers)
        return 0
    print(f"{platform.machine()} beside {file}", flush=True)
    return 0 if compare(Path(file), pictures="--pictures" in options) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
