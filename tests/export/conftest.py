"""Checkpoints and calibration data that several test modules of the export share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def calibration_data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Arguments of `export` with calibration data of the user, little so that tests are quick."""
    import checkpoints

    pictures, texts = checkpoints.write_calibration_data(tmp_path_factory.mktemp("calibration"))
    return {"calibration_images": pictures, "calibration_texts": texts, "threads": 1}


@pytest.fixture(scope="session")
def outlier_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with outlier channels in both towers."""
    import checkpoints

    folder = tmp_path_factory.mktemp("outliers")
    model = checkpoints.write_checkpoint(folder, seed=3)
    checkpoints.inject_outliers(model)
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def outlier_artifact(
    outlier_checkpoint: Path, calibration_data: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> Any:
    """The int8 artifact of `outlier_checkpoint`."""
    from clipshelf_export import export

    out = tmp_path_factory.mktemp("artifacts") / "outliers"
    return export(outlier_checkpoint, out, min_overlap=0.95, **calibration_data)
