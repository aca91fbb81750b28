"""The folder of an artifact appears whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="export needs clipshelf[export]")
pytest.importorskip("transformers", reason="export needs clipshelf[export]")

from clipshelf.errors import ExportError
from clipshelf_export import export


def test_out_must_be_empty_or_an_artifact_to_overwrite(
    outlier_checkpoint: Path, calibration_data: dict[str, Any], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "letter.txt").write_text("dear reader")
    with pytest.raises(ExportError, match="--overwrite"):
        export(outlier_checkpoint, out, precisions=("fp32",), **calibration_data)
    with pytest.raises(ExportError, match="found a folder without manifest"):
        export(outlier_checkpoint, out, precisions=("fp32",), overwrite=True, **calibration_data)
    (out / "letter.txt").unlink()
    export(outlier_checkpoint, out, precisions=("fp32",), **calibration_data)
    export(outlier_checkpoint, out, precisions=("fp32",), overwrite=True, **calibration_data)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_full_disk_leaves_nothing(
    outlier_checkpoint: Path, calibration_data: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("clipshelf_export.artifact_folder._flush", fail)
    with pytest.raises(ExportError, match="disk full"):
        export(outlier_checkpoint, tmp_path / "new" / "out", precisions=("fp32",), **calibration_data)
    assert list(tmp_path.iterdir()) == []
