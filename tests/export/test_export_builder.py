"""Graphs as files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="export needs clipshelf[export]")
pytest.importorskip("transformers", reason="export needs clipshelf[export]")

from clipshelf_export import export


def test_weights_past_the_limit_of_a_protobuf_lie_beside_the_graph(
    outlier_checkpoint: Path, calibration_data: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clipshelf_export.graphs.builder.EXTERNAL_ABOVE", 10_000)
    artifact = export(outlier_checkpoint, tmp_path / "out", precisions=("fp32",), **calibration_data)
    assert {"vision.onnx.data", "text.onnx.data"} <= artifact.manifest.files.keys()
    assert artifact.manifest.parity["vision"]["fp32"]["difference"] <= 1e-5
    assert (artifact.path / "vision.onnx").stat().st_size < 100_000
