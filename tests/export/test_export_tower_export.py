"""The proof of the fp32 graph against torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="export needs clipshelf[export]")
pytest.importorskip("transformers", reason="export needs clipshelf[export]")

import checkpoints
from clipshelf.errors import ExportError
from clipshelf_export import export, tower_export


def test_fp32_need_not_be_nearer_to_torch_than_torch_is_to_the_truth(
    tmp_path: Path, calibration_data: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = checkpoints.write_checkpoint(tmp_path / "checkpoint", vision_num_hidden_layers=3)
    checkpoints.sharpen_attention(model, 6.0)
    model.save_pretrained(tmp_path / "checkpoint")
    artifact = export(tmp_path / "checkpoint", tmp_path / "out", precisions=("fp32",), **calibration_data)
    assert 1e-5 < max(artifact.manifest.parity[tower]["fp32"]["difference"] for tower in ("vision", "text")) < 1e-3
    monkeypatch.setattr(tower_export, "FP64_DISTANCE_FACTOR", 0)
    with pytest.raises(ExportError, match="fp32: expected agreement with torch to 1e-05, found"):
        export(tmp_path / "checkpoint", tmp_path / "other", precisions=("fp32",), **calibration_data)
