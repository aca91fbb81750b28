"""What torch embedded once, replayed on the exported graphs by the runtime alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clipshelf import Engine
from clipshelf.errors import ArtifactError
from clipshelf.model.artifact import Artifact
from clipshelf.runtime.session import Session
from clipshelf.types import FloatArray, Precision

FOLDER = Path(__file__).parents[2] / "reference"
REMAKE = "stale: remake tests/reference with `python tests/export/make_reference.py`"


@pytest.fixture(scope="module")
def artifact() -> Artifact:
    try:
        return Artifact.open(FOLDER / "artifact")
    except ArtifactError as error:
        pytest.fail(f"{error}\n{REMAKE}")


@pytest.fixture(scope="module")
def saved(artifact: Artifact) -> dict[str, Any]:
    with np.load(FOLDER / "outputs.npz") as file:
        outputs = dict(file)
    assert str(outputs["fingerprint"]) == artifact.manifest.fingerprint, REMAKE
    return outputs


def run(artifact: Artifact, precision: Precision, pixels: Any) -> FloatArray:
    path, side = artifact.file(artifact.manifest.graph("vision", precision)), artifact.manifest.image.size
    session = Session(
        path,
        inputs={"pixels": ("uint8", (-1, side, side, 3))},
        outputs={"image_embeds": ("float", (-1, artifact.manifest.dim))},
        provider="CPUExecutionProvider",
        threads=1,
        arena=True,
    )
    return session.run({"pixels": pixels})


def centred_cosines(exact: FloatArray, embeds: FloatArray) -> FloatArray:
    """Cosines after the mean of the exact rows was taken from both."""
    a, b = exact - exact.mean(0), embeds - exact.mean(0)
    cosines: FloatArray = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    return cosines


def test_fp32_graphs_give_what_torch_gave(artifact: Artifact, saved: dict[str, Any]) -> None:
    assert np.abs(run(artifact, "fp32", saved["pixels"]) - saved["image_embeds"]).max() <= 1e-5


def test_int8_graphs_are_near_it(artifact: Artifact, saved: dict[str, Any]) -> None:
    embeds = run(artifact, "int8", saved["pixels"])
    assert centred_cosines(saved["image_embeds"], embeds).mean() >= 0.98
    assert np.array_equal(embeds[:1], run(artifact, "int8", saved["pixels"][:1]))


def test_the_engine_embeds_texts_and_pictures_as_torch_did(artifact: Artifact, saved: dict[str, Any]) -> None:
    engine = Engine(artifact, threads=1)
    assert engine.precision == "int8"
    assert centred_cosines(saved["text_embeds"], engine.embed_texts(saved["texts"].tolist())).mean() >= 0.98
    assert centred_cosines(saved["image_embeds"], engine.embed_images(list(saved["pixels"]))).mean() >= 0.98


def test_the_replay_takes_no_torch() -> None:
    code = (
        "import sys; from clipshelf import Engine; Engine.load(sys.argv[1], threads=1).embed_texts(['lamp']);"
        "sys.exit(' '.join({'torch', 'transformers', 'onnx'} & set(sys.modules)) or 0)"
    )
    command = [sys.executable, "-c", code, str(FOLDER / "artifact")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
