from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from clipshelf import Artifact, Engine
from clipshelf.errors import ArtifactError
from clipshelf.model.artifact import MANIFEST, Manifest
from support import tiny


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny.write_artifact(tmp_path / "artifact")


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    data = json.loads((folder / MANIFEST).read_text())
    change(data)
    (folder / MANIFEST).write_text(json.dumps(data))


def test_manifest_survives_a_round_trip(folder: Path) -> None:
    manifest = Artifact.open(folder).manifest
    assert Manifest.from_json(manifest.to_json()) == manifest
    assert manifest.precisions == ("fp32",)
    assert manifest.graph("text") == "text.onnx"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(format=2), r"format: expected 1, found 2"),
        (lambda d: d.pop("dim"), r"dim: expected a value, found nothing"),
        (lambda d: d.update(dim="4"), r"dim: expected int, found '4'"),
        (lambda d: d.update(dim=True), r"dim: expected int, found True"),
        (lambda d: d.update(colour="red"), r"colour: expected no such field"),
        (lambda d: d["image"].update(resize="stretch"), r"image.resize: expected one of .*squash.*, found 'stretch'"),
        (lambda d: d["image"].update(size=0), r"image.size: expected 1 to 4096, found 0"),
        (lambda d: d["image"].update(resize_to=4097), r"image.resize_to: expected 8 to 4096, found 4097"),
        (lambda d: d["image"].update(resize_to=10**3000), r"image.resize_to: expected 8 to 4096, found 10{39}$"),
        (lambda d: d["text"].update(max_tokens=32_769), r"text.max_tokens: expected 3 to 32768, found 32769"),
        (lambda d: d["text"].update(max_tokens=2), r"text.max_tokens: expected 3 to 32768, found 2"),
        (lambda d: d["files"].pop("text.onnx"), r"files: expected a record of text.onnx"),
        (lambda d: d["files"].update({"../x": d["files"]["text.onnx"]}), r"files: expected plain file names"),
        (lambda d: d.update(files=[]), r"files: expected an object, found list"),
        (lambda d: d.update(image=3), r"image: expected an object, found int"),
        (lambda d: d.update(logits={"scale": 2.0}), r"logits: expected none, or finite numbers scale and bias, found"),
        (lambda d: d.update(logits={"scale": float("nan"), "bias": 0}), r"logits: expected none, or finite numbers"),
        (lambda d: d.update(logits=[]), r"logits: expected none, or finite numbers scale and bias, found \[\]"),
        (lambda d: d.update(fingerprint="0"), r"fingerprint: expected [0-9a-f]{16}, found 0"),
        (lambda d: d["text"].update(max_tokens=9), r"fingerprint: expected"),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused(
    folder: Path, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    edit(folder, change)
    with pytest.raises(ArtifactError, match=message):
        Artifact.open(folder)


def test_broken_json_and_missing_manifest_are_refused(folder: Path, tmp_path: Path) -> None:
    (folder / MANIFEST).write_text("{")
    with pytest.raises(ArtifactError, match="expected JSON"):
        Artifact.open(folder)
    with pytest.raises(ArtifactError, match=r"expected an artifact folder with a manifest\.json, found none"):
        Artifact.open(tmp_path / "nowhere")


def test_a_file_of_another_size_is_refused_when_opened(folder: Path) -> None:
    with (folder / "text.onnx").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(ArtifactError, match=r"text\.onnx: expected \d+ bytes, found \d+ bytes"):
        Artifact.open(folder)
    (folder / "text.onnx").unlink()
    with pytest.raises(ArtifactError, match=r"text\.onnx: expected \d+ bytes, found no such file"):
        Artifact.open(folder)


@pytest.mark.parametrize("name", ["vision.onnx", "text.onnx", "tokenizer.json"])
def test_a_flipped_byte_is_refused_before_the_file_is_used(folder: Path, name: str) -> None:
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(data)
    engine = Engine.load(folder)
    with pytest.raises(ArtifactError, match=rf"{name}: expected sha256 [0-9a-f]{{64}}, found [0-9a-f]{{64}}"):
        engine.warm()
    with pytest.raises(ArtifactError, match="sha256"):
        engine.artifact.verify()


def test_graphs_are_compared_with_the_manifest(folder: Path) -> None:
    tiny.write_manifest(folder, dim=5)
    engine = Engine.load(folder)
    with pytest.raises(ArtifactError, match=r"vision\.onnx: outputs: expected .*5.*, found .*4"):
        engine.embed_images([tiny.picture("red")])
    with pytest.raises(ArtifactError, match=r"text\.onnx: outputs: expected"):
        engine.embed_texts(["red"])


def test_a_file_that_is_no_graph_is_refused(folder: Path) -> None:
    (folder / "vision.onnx").write_bytes(b"not a graph")
    tiny.write_manifest(folder)
    with pytest.raises(ArtifactError, match=r"vision\.onnx: expected a graph that onnxruntime can open"):
        Engine.load(folder).embed_images([tiny.picture("red")])


def test_the_fingerprint_follows_all_that_changes_an_embedding(tmp_path: Path) -> None:
    first = Artifact.open(tiny.write_artifact(tmp_path / "a")).manifest
    again = Artifact.open(tiny.write_artifact(tmp_path / "b")).manifest
    other = Artifact.open(tiny.write_artifact(tmp_path / "c", seed=1)).manifest
    assert first.fingerprint == again.fingerprint
    assert first.fingerprint != other.fingerprint
