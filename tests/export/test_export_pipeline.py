"""An export from checkpoint to artifact."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="export needs clipshelf[export]")
pytest.importorskip("transformers", reason="export needs clipshelf[export]")

from clipshelf.errors import ExportError
from clipshelf.model.artifact import Artifact
from clipshelf_export import export
from clipshelf_export.checkpoints import clip
from clipshelf_export.checkpoints.image_rules import ImageRule, read_image_rule


def test_the_same_inputs_give_the_same_bytes(
    outlier_checkpoint: Path, outlier_artifact: Artifact, calibration_data: dict[str, Any], tmp_path: Path
) -> None:
    again = export(outlier_checkpoint, tmp_path / "again", min_overlap=0.95, **calibration_data)
    assert again.manifest.files == outlier_artifact.manifest.files
    assert again.manifest.fingerprint == outlier_artifact.manifest.fingerprint


@pytest.mark.parametrize("least", [{"sound": 0.9}, {"text": 1.5}, -0.1])
def test_an_overlap_that_cannot_be_is_refused(
    least: Any, outlier_checkpoint: Path, calibration_data: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(ExportError, match="min_overlap: expected numbers from 0 to 1 for vision or text, found"):
        export(outlier_checkpoint, tmp_path / "out", min_overlap=least, **calibration_data)


def test_the_manifest_records_versions_and_the_agreement_with_the_library(outlier_artifact: Artifact) -> None:
    manifest = outlier_artifact.manifest
    assert {"clipshelf", "onnx", "tokenizers", "torch", "transformers"} <= set(manifest.versions)
    for tower in ("vision", "text"):
        assert manifest.end_to_end[tower]["inputs"] <= 1e-5
        assert manifest.end_to_end[tower]["cosine_min"] >= 0.95


def test_inputs_unlike_the_librarys_are_an_error_and_leave_nothing(
    outlier_checkpoint: Path, calibration_data: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def squash(folder: Path, size: int, *args: Any) -> ImageRule:
        rule = read_image_rule(folder, size, *args)
        return replace(rule, spec=replace(rule.spec, resize="squash"))

    monkeypatch.setattr(clip, "read_image_rule", squash)
    with pytest.raises(ExportError, match="vision: expected the inputs that the checkpoint's own library prepares"):
        export(outlier_checkpoint, tmp_path / "out", precisions=("fp32",), **calibration_data)
    assert list(tmp_path.iterdir()) == []
