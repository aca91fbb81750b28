"""The samples of a tower and their three parts."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="export needs clipshelf[export]")
pytest.importorskip("transformers", reason="export needs clipshelf[export]")

from clipshelf.errors import ExportError
from clipshelf.model.artifact import ImageSpec
from clipshelf_export import export
from clipshelf_export.measure.samples import image_samples


def test_too_little_data_is_refused(outlier_checkpoint: Path, calibration_data: dict[str, Any], tmp_path: Path) -> None:
    few = tmp_path / "few.txt"
    few.write_text("one\ntwo\n")
    with pytest.raises(ExportError, match=r"--calibration-texts: expected at least 60 lines .* found 2"):
        export(outlier_checkpoint, tmp_path / "out", **(calibration_data | {"calibration_texts": few}))
    pictures = tmp_path / "pictures"
    shutil.copytree(calibration_data["calibration_images"], pictures)
    for copy in range(59, 90):
        shutil.copy(pictures / "000.png", pictures / f"{copy:03}.png")
    with pytest.raises(ExportError, match="--calibration-images: expected at least 60 different pictures, found 59"):
        export(outlier_checkpoint, tmp_path / "out", **(calibration_data | {"calibration_images": pictures}))


def test_the_three_parts_are_disjoint_and_alike() -> None:
    samples = image_samples(ImageSpec(16, "squash", 16, "bicubic"), None)
    parts = (samples.calibration, samples.choosing, samples.final)
    assert [len(part) for part in parts] == [96, 96, 96]
    assert len({item.tobytes() for part in parts for item in part}) == 288
    means = [float(np.mean([item.mean() for item in part])) for part in parts]
    assert max(means) - min(means) < 20
    record = samples.as_record()
    assert [record[name] for name in ("calibrated_on", "chosen_on", "measured_on")] == [96, 96, 96]
