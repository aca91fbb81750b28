"""The rules that prepare pictures: as the library's own processors do, or refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="export needs clipshelf[export]")
pytest.importorskip("transformers", reason="export needs clipshelf[export]")

import checkpoints
import transformers
from clipshelf.errors import ExportError
from clipshelf.model.image import ImageReader
from clipshelf_export.checkpoints.image_rules import parse_image_rule, read_image_rule
from PIL import Image

SQUARE = {"height": 32, "width": 32}
# What a file says, by its name in the test; each for pictures of 32 x 32 pixels.
RULES: dict[str, dict[str, Any]] = {
    "clip": {"image_processor_type": "CLIPImageProcessor", "size": {"shortest_edge": 40}, "crop_size": SQUARE},
    "clip, whole numbers": {"feature_extractor_type": "CLIPFeatureExtractor", "size": 36, "crop_size": 32},
    "clip, squash": {"image_processor_type": "CLIPImageProcessor", "size": SQUARE, "crop_size": SQUARE},
    "clip, fast": {
        "image_processor_type": "CLIPImageProcessorFast",
        "size": {"shortest_edge": 32},
        "crop_size": SQUARE,
    },
    "one mean for all": {"size": 32, "crop_size": 32, "image_mean": 0.4, "image_std": 0.3},
    "not normalised": {"size": 32, "crop_size": 32, "do_normalize": False},
    "chinese clip": {"image_processor_type": "ChineseCLIPImageProcessor", "size": SQUARE, "do_center_crop": False},
    "siglip": {"image_processor_type": "SiglipImageProcessor", "size": SQUARE, "resample": 2},
    "vit": {"image_processor_type": "ViTImageProcessor", "size": SQUARE},
    "vit, a whole number": {"image_processor_type": "ViTFeatureExtractor", "size": 32},
    "convnext": {
        "image_processor_type": "ConvNextImageProcessor",
        "size": {"shortest_edge": 32},
        "crop_pct": 0.8,
        "resample": 2,
    },
}


def library_values(settings: dict[str, Any], folder: Path, picture: Image.Image) -> Any:
    """The pixel values (3, S, S) that transformers makes of a picture."""
    kind = settings.get("image_processor_type") or settings.get("feature_extractor_type") or "CLIPImageProcessor"
    file = settings | {"image_processor_type": kind.replace("FeatureExtractor", "ImageProcessor").removesuffix("Fast")}
    (folder / "preprocessor_config.json").write_text(json.dumps(file))
    hugging: Any = transformers  # only half typed
    processor = hugging.AutoImageProcessor.from_pretrained(folder, local_files_only=True, use_fast=False)
    return np.asarray(processor(picture, return_tensors="np")["pixel_values"][0])


@pytest.mark.parametrize("name", RULES)
def test_pixels_are_those_of_the_librarys_processor(name: str, tmp_path: Path) -> None:
    rule = parse_image_rule(RULES[name], 32)
    for size in ((90, 51), (48, 160), (33, 32)):
        picture = Image.fromarray(checkpoints.pictures(1, side=64)[0]).resize(size)
        pixels = ImageReader(rule.spec, "exact").read(picture)
        values = ((pixels.astype(np.float32) / 255 - rule.mean) / rule.std).transpose(2, 0, 1)
        assert np.abs(values - library_values(RULES[name], tmp_path, picture)).max() <= 1e-5


def test_convnext_squashes_large_pictures() -> None:
    rule = parse_image_rule({"image_processor_type": "ConvNextImageProcessor", "resample": 3}, 384)
    assert (rule.spec.resize, rule.spec.size, rule.spec.resample) == ("squash", 384, "bicubic")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"image_processor_type": "EfficientNetImageProcessor"}, "image_processor_type: expected one of CLIPImage"),
        ({"image_processor_type": "DeiTImageProcessor"}, "found DeiTImageProcessor"),
        ({"image_processor_type": "ConvNextImageProcessor"}, "resample: expected 1, 2 or 3, found None"),
        ({"rescale_offset": True}, "rescale_offset: expected no such setting of CLIPImageProcessor, found True"),
        ({"crop_pct": 0.9}, "crop_pct: expected no such setting of CLIPImageProcessor, found 0.9"),
        ({"do_pad": True, "pad_size": SQUARE}, "expected no such setting"),
        ({"size": {"shortest_edge": 32, "longest_edge": 64}}, "size: expected shortest_edge alone, or height and"),
        ({"size": {"longest_edge": 32}}, "size: expected shortest_edge alone"),
        ({"size": {"height": 32}}, "size: expected shortest_edge alone"),
        ({"size": 24, "crop_size": 32}, "expected a shortest_edge of at least crop_size 32, found 24"),
        ({"size": 32, "crop_size": 24}, "expected a way to 32 x 32 pixels, found size"),
        ({"size": 32, "do_center_crop": False}, "expected a way to 32 x 32 pixels, found size .* crop off"),
        ({"size": 32, "crop_size": 32, "image_mean": [0.5, 0.5]}, "image_mean: expected one number or three"),
        ({"size": 32, "crop_size": 32, "image_std": 0}, "image_std: expected numbers above 0, found 0"),
        ({"size": 32, "crop_size": 32, "resample": 0}, "resample: expected 1, 2 or 3, found 0"),
        ({"size": 32, "crop_size": 32, "rescale_factor": 1}, "rescale_factor: expected 1/255, found 1"),
        ({"size": 32, "crop_size": 32, "do_resize": False}, "do_resize: expected true, found False"),
        ({"size": 32, "crop_size": 32, "image_mean": "a"}, "image_mean: expected one number or three, found 'a'"),
        ({"size": "large"}, "size: expected a whole number or an object with edges, found 'large'"),
        ({"size": [32, 32]}, r"size: expected a whole number or an object with edges, found \[32, 32\]"),
    ],
)
def test_what_an_artifact_cannot_do_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ExportError, match=message):
        parse_image_rule(settings, 32)


def test_files_that_disagree_are_told_and_one_of_them_is_enough(tmp_path: Path) -> None:
    clip = RULES["clip"]
    (tmp_path / "processor_config.json").write_text(json.dumps({"image_processor": clip}))
    assert read_image_rule(tmp_path, 32).spec == parse_image_rule(clip, 32).spec
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(clip))
    assert read_image_rule(tmp_path, 32).spec == parse_image_rule(clip, 32).spec
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(clip | {"resample": 2}))
    with pytest.raises(
        ExportError, match=r"expected preprocessor_config.json and processor_config.json to agree, found"
    ):
        read_image_rule(tmp_path, 32)
    (tmp_path / "preprocessor_config.json").write_text("[]")
    with pytest.raises(ExportError, match="expected an object, found list"):
        read_image_rule(tmp_path, 32)
