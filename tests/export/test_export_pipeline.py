"""An export from checkpoint to artifact."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="export needs clipshelf[export]")
pytest.importorskip("transformers", reason="export needs clipshelf[export]")

from clipshelf.errors import ExportError
from clipshelf.model.artifact import Artifact
from clipshelf_export import export


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
