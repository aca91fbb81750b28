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
from PIL import Image


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


def test_a_picture_that_cannot_be_read_is_left_out_with_its_reason(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for index in range(60):
        suffix = (".jpg", ".jfif", ".png")[index % 3]
        picture = Image.fromarray(rng.integers(0, 256, (40, 40, 3), np.uint8))
        picture.save(tmp_path / f"{index:02}{suffix}", "PNG" if suffix == ".png" else "JPEG")
    (tmp_path / "._00.jpg").write_bytes(bytes(4096))
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "page.jpg").write_bytes(b"<!DOCTYPE html>404")
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "dangling.jpg").symlink_to(tmp_path / "nowhere.jpg")
    spec = ImageSpec(32, "shortest", 32, "bicubic")
    samples = image_samples(spec, tmp_path)
    record = samples.as_record()
    assert record["calibrated_on"] + record["chosen_on"] + record["measured_on"] == 60
    assert record["left_out"]["count"] == 5
    assert [Path(reason.split(":")[0]).name for reason in sorted(record["left_out"]["reasons"])] == [
        "._00.jpg", "dangling.jpg", "empty.jpg", "folder.jpg", "page.jpg"
    ]  # fmt: skip
    (tmp_path / "00.jpg").unlink()
    with pytest.raises(ExportError, match="expected at least 60 different pictures, found 59; 5 could not be read"):
        image_samples(spec, tmp_path)
