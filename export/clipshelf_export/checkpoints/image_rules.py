"""The rule by which a checkpoint prepares pictures: preprocessor_config.json, or its part of processor_config.json.

The files are read without transformers, since its releases give one file different meanings: some ignore a
`longest_edge` beside `shortest_edge`, others use it. What an artifact cannot do exactly is refused.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from clipshelf.errors import ExportError
from clipshelf.model.artifact import ImageSpec, Resample
from clipshelf.types import FloatArray

PREPROCESSOR, PROCESSOR = "preprocessor_config.json", "processor_config.json"
# Pillow's numbers of resampling filters, which the files use
RESAMPLES: dict[int, Resample] = {1: "lanczos", 2: "bilinear", 3: "bicubic"}
CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
# What the image processors of transformers do where a file says nothing, by the name of their class.
_ANY = {"do_resize": True, "do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True, "crop_size": None}
_SQUARE = {"height": 224, "width": 224}
_CLIP = {
    **_ANY,
    "size": {"shortest_edge": 224},
    "resample": 3,
    "do_center_crop": True,
    "crop_size": _SQUARE,
    "image_mean": CLIP_MEAN,
    "image_std": CLIP_STD,
}
_SIGLIP = {**_ANY, "size": _SQUARE, "resample": 3, "do_center_crop": False, "image_mean": 0.5, "image_std": 0.5}
DEFAULTS: dict[str, dict[str, Any]] = {
    "CLIPImageProcessor": _CLIP,
    "ChineseCLIPImageProcessor": _CLIP,
    "SiglipImageProcessor": _SIGLIP,
    "ViTImageProcessor": {**_SIGLIP, "resample": 2},
    # the default filter of ConvNeXT's processor depends on the release, so that a file must name it
    "ConvNextImageProcessor": {**_SIGLIP, "size": {"shortest_edge": 384}, "resample": None, "crop_pct": 224 / 256},
}
# Processors that crop the centre after a resize, where `do_center_crop` says so.
_CROPPING = frozenset({"CLIPImageProcessor", "ChineseCLIPImageProcessor"})
# Processors for which a whole number as `size` is the shortest edge; for others it is both edges.
_SHORTEST_BY_DEFAULT = _CROPPING | {"ConvNextImageProcessor"}
# ConvNeXT's processor crops below this size and squashes from it on.
CONVNEXT_SQUASHES_FROM = 384
# Keys that say nothing about pixels. Any other unknown key is refused, unless its value is null or false.
_IRRELEVANT = frozenset(
    {
        *("image_processor_type", "feature_extractor_type", "processor_class", "_valid_processor_keys"),
        *("do_convert_rgb", "data_format", "input_data_format", "return_tensors", "device", "disable_grouping"),
        *("default_to_square", "image_seq_length"),
    }
)


@dataclass(frozen=True)
class ImageRule:
    """How a checkpoint prepares pictures.

    - `spec`: how a picture becomes a square of pixels.
    - `mean`, `std`: (3,), applied to pixels scaled to [0, 1].
    """

    spec: ImageSpec
    mean: FloatArray
    std: FloatArray


def read_image_rule(folder: Path, size: int, default_type: str = "CLIPImageProcessor") -> ImageRule:
    """Read the rule of a checkpoint.

    - `folder`: holds preprocessor_config.json or processor_config.json; where it has both, they must agree.
    - `size`: S, the edge in pixels of the pictures that the vision tower takes.
    - `default_type`: the class of transformers that prepares pictures where a file names none.

    Raises ExportError where there is no such file, or where it says what an artifact cannot do.
    """
    rules = {name: parse_image_rule(file, size, default_type, name) for name, file in _read_files(folder).items()}
    if not rules:
        raise ExportError(f"{folder}: expected {PREPROCESSOR}, or {PROCESSOR} with an image processor, found neither")
    first, *others = rules
    for name in others:
        for part in ("spec", "mean", "std"):
            value, other = getattr(rules[first], part), getattr(rules[name], part)
            if not np.array_equal(value, other):
                raise ExportError(f"{folder}: expected {first} and {name} to agree, found {part} {value} and {other}")
    return rules[first]


def parse_image_rule(
    settings: Mapping[str, Any], size: int, default_type: str = "CLIPImageProcessor", file: str = PREPROCESSOR
) -> ImageRule:
    """Translate the settings of an image processor.

    - `settings`: the content of the file.
    - `size`, `default_type`: as for `read_image_rule`.
    - `file`: its name, for messages.

    Raises ExportError where an artifact cannot do what the settings say.
    """
    kind = _processor_type(settings, default_type, file)
    for key in settings.keys() - DEFAULTS[kind].keys() - _IRRELEVANT:
        if settings[key] not in (None, False):
            raise ExportError(f"{file}: {key}: expected no such setting of {kind}, found {settings[key]!r}")
    values = DEFAULTS[kind] | {key: value for key, value in settings.items() if value is not None}
    try:
        return _rule(values, size, kind)
    except (TypeError, ValueError) as error:
        raise ExportError(f"{file}: {error}") from error


def _processor_type(settings: Mapping[str, Any], default_type: str, file: str) -> str:
    """Return the class of transformers that the settings name, without the name of its backend."""
    name = str(settings.get("image_processor_type") or settings.get("feature_extractor_type") or default_type)
    kind = name.removesuffix("Fast").removesuffix("Pil").replace("FeatureExtractor", "ImageProcessor")
    if kind not in DEFAULTS:
        known = ", ".join(DEFAULTS)
        raise ExportError(f"{file}: image_processor_type: expected one of {known}, found {name}")
    return kind


def _rule(values: Mapping[str, Any], size: int, kind: str) -> ImageRule:
    """Return the rule of complete settings. Raises ValueError where an artifact cannot do what they say."""
    for name in ("do_resize", "do_rescale"):
        if not values[name]:
            raise ValueError(f"{name}: expected true, found {values[name]!r}")
    factor = values["rescale_factor"]
    if not isinstance(factor, int | float) or abs(factor * 255 - 1) > 1e-6:
        raise ValueError(f"rescale_factor: expected 1/255, found {factor!r}")
    if values["resample"] not in RESAMPLES:
        raise ValueError(f"resample: expected 1, 2 or 3, found {values['resample']!r}")
    mean, std = (_per_channel(values[name], name) for name in ("image_mean", "image_std"))
    if not values["do_normalize"]:
        mean, std = np.zeros(3, np.float32), np.ones(3, np.float32)
    return ImageRule(_image_spec(values, size, kind), mean, std)


def _image_spec(values: Mapping[str, Any], size: int, kind: str) -> ImageSpec:
    """Return the resize rule. Raises ValueError where it yields another size, or is none of an artifact's."""
    resample = RESAMPLES[values["resample"]]
    resize = _edges(values["size"], "size", "shortest" if kind in _SHORTEST_BY_DEFAULT else "both")
    crop = _edges(values["crop_size"], "crop_size", "both") if values["do_center_crop"] else None
    square = {"height": size, "width": size}
    if kind == "ConvNextImageProcessor" and resize == {"shortest_edge": size}:
        if size >= CONVNEXT_SQUASHES_FROM:
            return ImageSpec(size, "squash", size, resample)
        return ImageSpec(size, "shortest", int(size / values["crop_pct"]), resample)
    if kind in _CROPPING and resize.keys() == {"shortest_edge"} and crop == square:
        if resize["shortest_edge"] < size:
            raise ValueError(
                f"size: expected a shortest_edge of at least crop_size {size}, found {resize['shortest_edge']}, "
                "which would pad pictures with black"
            )
        return ImageSpec(size, "shortest", resize["shortest_edge"], resample)
    if resize == square and crop in (None, square):
        return ImageSpec(size, "squash", size, resample)
    raise ValueError(f"expected a way to {size} x {size} pixels, found size {resize}, crop {crop or 'off'}")


def _edges(value: Any, name: str, default: str) -> dict[str, int]:
    """Return a size as a dict of edges. Raises ValueError where it is none, or has an edge of unknown meaning."""
    if isinstance(value, int):
        return {"shortest_edge": value} if default == "shortest" else {"height": value, "width": value}
    if not isinstance(value, Mapping):
        raise ValueError(f"{name}: expected a whole number or an object with edges, found {value!r}")
    edges = {key: edge for key, edge in value.items() if edge is not None}
    if set(edges) not in ({"shortest_edge"}, {"height", "width"}):
        raise ValueError(f"{name}: expected shortest_edge alone, or height and width, found {edges}")
    return {key: int(edge) for key, edge in edges.items()}


def _per_channel(value: Any, name: str) -> FloatArray:
    """Return a mean or a standard deviation as (3,); one number stands for all channels."""
    expected = f"{name}: expected one number or three, found {value!r}"
    try:
        numbers = np.asarray(value, np.float32)
    except (TypeError, ValueError) as error:
        raise ValueError(expected) from error
    if numbers.shape not in ((), (3,)) or not np.isfinite(numbers).all():
        raise ValueError(expected)
    if name == "image_std" and not (numbers > 0).all():
        raise ValueError(f"{name}: expected numbers above 0, found {value!r}")
    return np.ascontiguousarray(np.broadcast_to(numbers, (3,)))


def _read_files(folder: Path) -> dict[str, Mapping[str, Any]]:
    """Return the settings of an image processor by the file that holds them."""
    files: dict[str, Mapping[str, Any]] = {}
    for name in (PREPROCESSOR, PROCESSOR):
        path = folder / name
        if not path.is_file():
            continue
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ExportError(f"{path}: expected JSON, found: {error}") from error
        settings = content.get("image_processor") if name == PROCESSOR and isinstance(content, dict) else content
        if isinstance(settings, dict):
            files[name] = settings
        elif name == PREPROCESSOR:
            raise ExportError(f"{path}: expected an object, found {type(content).__name__}")
    return files
