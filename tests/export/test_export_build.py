"""The check that onnxruntime keeps the fused nodes."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="export needs clipshelf[export]")
pytest.importorskip("transformers", reason="export needs clipshelf[export]")

import onnx
import onnxruntime as ort
from clipshelf.errors import ExportError
from clipshelf.model.artifact import Artifact
from clipshelf_export import export
from clipshelf_export.graphs import functions


def test_int8_graphs_hold_the_fused_nodes_without_the_kernels(outlier_artifact: Artifact, tmp_path: Path) -> None:
    for tower, attention in (("vision", "MultiHeadAttention"), ("text", "QAttention")):
        options = ort.SessionOptions()
        options.optimized_model_filepath = str(tmp_path / f"{tower}.onnx")
        ort.InferenceSession(str(outlier_artifact.path / f"{tower}.onnx"), options)
        nodes = onnx.load(tmp_path / f"{tower}.onnx", load_external_data=False).graph.node
        assert {node.domain for node in nodes} <= {"", "com.microsoft", "com.ms.internal.nhwc"}
        kinds = [node.op_type for node in nodes]
        assert kinds.count("QAttention") + kinds.count("MultiHeadAttention") == kinds.count("QuickGelu") == 2
        assert attention in kinds
        assert "MatMulIntegerToFloat" in kinds
        assert kinds.count("SkipLayerNormalization") <= 1  # of the pooled token


def test_a_lost_fusion_is_an_error_that_names_it(
    outlier_checkpoint: Path, calibration_data: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(functions.ACTIVATION_KERNELS, "silu", "BiasGelu")
    with pytest.raises(ExportError, match="expected 2 BiasGelu nodes, found 0"):
        export(outlier_checkpoint, tmp_path / "out", precisions=("fp32",), **calibration_data)


def test_a_disk_that_fills_while_onnxruntime_writes_is_named(
    outlier_checkpoint: Path, calibration_data: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage, session = shutil.disk_usage(tmp_path), ort.InferenceSession

    def fail(path: str, options: Any, **others: Any) -> Any:
        if options.optimized_model_filepath:
            raise RuntimeError("Protobuf serialization failed.")
        return session(path, options, **others)

    monkeypatch.setattr(ort, "InferenceSession", fail)
    with pytest.raises(RuntimeError, match="Protobuf"):
        export(outlier_checkpoint, tmp_path / "out", precisions=("fp32",), **calibration_data)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=0))
    with pytest.raises(ExportError, match="disk full"):
        export(outlier_checkpoint, tmp_path / "out", precisions=("fp32",), **calibration_data)
    assert list(tmp_path.iterdir()) == []
