"""Artifacts whose graphs read other files: each file is listed and compared, or the artifact is refused."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from clipshelf import Engine
from clipshelf.errors import ArtifactError
from clipshelf.files import MANIFEST_BYTES
from clipshelf.model.artifact import MANIFEST, Manifest
from support import tiny

WEIGHTS = "text.onnx.data"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An artifact whose text graph has its weights in a file of their own, which the manifest lists."""
    folder = tiny.write_artifact(tmp_path / "artifact")
    model = onnx.load(folder / "text.onnx")
    onnx.save(model, folder / "text.onnx", save_as_external_data=True, location=WEIGHTS, size_threshold=128)
    tiny.write_manifest(folder)
    return folder


def relocate(folder: Path, location: str) -> None:
    """Have the graph read its weights from `location`, and seal the artifact again."""
    model = onnx.load(folder / "text.onnx", load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = location
    (folder / "text.onnx").write_bytes(model.SerializeToString())
    tiny.write_manifest(folder)


def test_listed_weights_are_read(folder: Path, engine: Engine) -> None:
    texts = ["red shoe", "blue"]
    np.testing.assert_array_equal(Engine.load(folder).embed_texts(texts), engine.embed_texts(texts))


def test_weights_that_changed_are_refused(folder: Path) -> None:
    data = bytearray((folder / WEIGHTS).read_bytes())
    data[0] ^= 1
    (folder / WEIGHTS).write_bytes(data)
    with pytest.raises(ArtifactError, match=rf"{WEIGHTS}: expected sha256"):
        Engine.load(folder).embed_texts(["red"])


@pytest.mark.parametrize(
    "location", ["other.data", "./text.onnx.data", "../weights", "/etc/passwd", "", "manifest.json"]
)
def test_weights_that_the_manifest_does_not_list_are_refused(folder: Path, location: str) -> None:
    (folder.parent / "weights").write_bytes((folder / WEIGHTS).read_bytes())
    relocate(folder, location)
    with pytest.raises(ArtifactError, match=r"text\.onnx: expected weights in files that the manifest lists, found"):
        Engine.load(folder).embed_texts(["red"])


def test_weights_of_any_listed_name_are_compared(folder: Path) -> None:
    (folder / WEIGHTS).rename(folder / "shared.bin")
    relocate(folder, "shared.bin")
    Engine.load(folder).embed_texts(["red"])
    time = (folder / "shared.bin").stat()
    (folder / "shared.bin").write_bytes(bytes(time.st_size))
    os.utime(folder / "shared.bin", ns=(time.st_atime_ns, time.st_mtime_ns))
    with pytest.raises(ArtifactError, match=r"shared\.bin: expected sha256"):
        Engine.load(folder).embed_texts(["red"])


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace('"parity": {}', '"parity": ' + "[" * 100_000 + "]" * 100_000),
        lambda text: text.replace('"parity": {}', '"parity": {"image": ' + "[" * 600 + "]" * 600 + "}"),
        lambda text: text.replace('"opset": 18', '"opset": ' + "9" * 5_000),
        lambda text: text + " " * MANIFEST_BYTES,
    ],
    ids=["deep", "too deep to be written again", "a number of 5,000 digits", "long"],
)
def test_a_manifest_that_cannot_be_read_is_an_artifact_error(folder: Path, change: Callable[[str], str]) -> None:
    manifest = folder / MANIFEST
    manifest.write_text(change(manifest.read_text()))
    with pytest.raises(ArtifactError, match=f"{folder.name}: .*expected"):
        Engine.load(folder)


def test_a_name_that_no_file_may_have_is_an_artifact_error(folder: Path) -> None:
    manifest = Manifest.from_json((folder / MANIFEST).read_text())
    files = {**manifest.files, "v" * 300: manifest.files[WEIGHTS]}
    (folder / MANIFEST).write_text(replace(manifest, files=files).to_json())
    with pytest.raises(ArtifactError, match=rf"{folder.name}: .*vvv"):
        Engine.load(folder)
