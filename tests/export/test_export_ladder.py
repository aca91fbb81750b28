"""What int8 reaches on checkpoints that are hard to quantise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="export needs clipshelf[export]")
pytest.importorskip("transformers", reason="export needs clipshelf[export]")

import checkpoints
import onnx
import onnxruntime as ort
from clipshelf.errors import ExportError
from clipshelf.model.artifact import Artifact
from clipshelf_export import export
from clipshelf_export.checkpoints.load import load_checkpoint
from clipshelf_export.measure import fidelity


def test_int8_is_faithful_where_plain_dynamic_int8_is_not(
    outlier_checkpoint: Path, outlier_artifact: Artifact, calibration_data: dict[str, Any], tmp_path: Path
) -> None:
    quantization = pytest.importorskip("onnxruntime.quantization")
    export(outlier_checkpoint, tmp_path / "fp32", precisions=("fp32",), **calibration_data)
    checkpoint = load_checkpoint(str(outlier_checkpoint))
    pixels = list(checkpoints.pictures(60, seed=9))
    reference = checkpoint.reference.embed_images(np.stack(pixels))
    plain, dynamic = tmp_path / "fp32/vision.onnx", tmp_path / "dynamic.onnx"
    quantization.quantize_dynamic(
        plain,
        dynamic,
        weight_type=quantization.QuantType.QInt8,
        per_channel=True,
        extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
    )
    files = {"dynamic": dynamic, "ours": outlier_artifact.path / "vision.onnx"}
    found = {name: fidelity.compare(reference, embed(path, pixels)) for name, path in files.items()}
    assert found["dynamic"].centred_mean < 0.99
    assert found["ours"].centred_mean >= 0.995
    assert outlier_artifact.manifest.parity["text"]["int8"]["centred_mean"] >= 0.995


def embed(path: Path, pixels: list[Any]) -> Any:
    session = ort.InferenceSession(str(path))
    return np.concatenate([session.run(None, {"pixels": picture[None]})[0] for picture in pixels])


def test_the_highest_bar_is_reached_in_fp32(
    outlier_checkpoint: Path, calibration_data: dict[str, Any], tmp_path: Path
) -> None:
    artifact = export(outlier_checkpoint, tmp_path / "out", min_overlap=1.0, **calibration_data)
    for tower in ("vision", "text"):
        assert artifact.manifest.parity[tower]["int8"]["difference"] <= 1e-5
        assert artifact.manifest.parity[tower]["int8"]["top10_overlap"] == 1


def test_weights_too_large_for_fp16_stay_fp32_in_int8_graphs(tmp_path: Path, calibration_data: dict[str, Any]) -> None:
    model = checkpoints.write_checkpoint(tmp_path / "checkpoint", seed=3)
    for tower, projection in ((model.vision_model, model.visual_projection), (model.text_model, model.text_projection)):
        projection.weight.data *= 1e7
        tower.encoder.layers[0].mlp.fc1.bias.data[:2] += 1e4
    model.save_pretrained(tmp_path / "checkpoint")
    artifact = export(tmp_path / "checkpoint", tmp_path / "out", **calibration_data)
    for tower in ("vision", "text"):
        assert artifact.manifest.parity[tower]["int8"]["top10_overlap"] >= 0.97
    with pytest.raises(ExportError, match=r"vision fp16: expected a faithful graph, found .* \(fp32 and int8 may do"):
        export(tmp_path / "checkpoint", tmp_path / "fp16", precisions=("fp16",), **calibration_data)


def test_towers_narrower_than_the_outlier_columns(tmp_path: Path, calibration_data: dict[str, Any]) -> None:
    shape = {"hidden_size": 15, "intermediate_size": 21, "num_attention_heads": 5}
    changes = {f"{tower}_{name}": value for tower in ("vision", "text") for name, value in shape.items()}
    checkpoints.write_checkpoint(tmp_path / "checkpoint", **changes)
    parity = export(tmp_path / "checkpoint", tmp_path / "out", **calibration_data).manifest.parity
    assert all(parity[tower]["int8"]["top10_overlap"] >= 0.97 for tower in ("vision", "text"))


def test_embeddings_that_tell_nothing_apart_fail_with_the_numbers(
    tmp_path: Path, calibration_data: dict[str, Any]
) -> None:
    model = checkpoints.write_checkpoint(tmp_path / "checkpoint")
    model.text_projection.weight.data *= 0
    model.save_pretrained(tmp_path / "checkpoint")
    with pytest.raises(ExportError, match=r"text int8: expected .* found top-10 .* with the whole tower in fp32"):
        export(tmp_path / "checkpoint", tmp_path / "out", min_overlap={"vision": 0}, **calibration_data)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]
