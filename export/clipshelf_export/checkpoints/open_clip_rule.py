"""The rule by which open_clip prepares pictures: the sizes in its settings, and preprocess_cfg."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from clipshelf.errors import ExportError

from clipshelf_export.checkpoints.image_rules import CLIP_MEAN, CLIP_STD, ImageRule, parse_image_rule

CONFIG = "open_clip_config.json"
# The longest text where the settings name none
DEFAULT_CONTEXT = 77
# Pillow's numbers of the filters. "random" varies the filter in training alone; open_clip then embeds with the bicubic.
FILTERS = {"bicubic": 3, "bilinear": 2, "random": 3}


def edge(value: Any) -> int:
    """Return a size as one edge. Raises ExportError where it is no square."""
    edges = {value} if isinstance(value, int) else set(value)
    if len(edges) != 1:
        raise ExportError(f"{CONFIG}: expected square pictures and patches, found {value}")
    return int(edges.pop())


def image_rule(preprocess: Mapping[str, Any], size: int) -> ImageRule:
    """Translate preprocess_cfg. Raises ExportError for a way that an artifact does not know."""
    mode = preprocess.get("resize_mode") or "shortest"
    interpolation = preprocess.get("interpolation") or "bicubic"
    if mode not in ("shortest", "squash"):
        raise ExportError(f"preprocess_cfg.resize_mode: expected shortest or squash, found {mode}")
    if interpolation not in FILTERS:
        known = ", ".join(FILTERS)
        raise ExportError(f"preprocess_cfg.interpolation: expected one of {known}, found {interpolation}")
    target = edge(preprocess.get("size") or size)
    square = {"height": target, "width": target}
    values = {
        "size": {"shortest_edge": target} if mode == "shortest" else square,
        "crop_size": square,
        "resample": FILTERS[interpolation],
        "image_mean": preprocess.get("mean") or CLIP_MEAN,
        "image_std": preprocess.get("std") or CLIP_STD,
    }
    rule = parse_image_rule(values, size, file=CONFIG)
    return replace(rule, spec=replace(rule.spec, crop_rounding="even")) if mode == "shortest" else rule
