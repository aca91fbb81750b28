"""The files beside the weights of a `CLIPModel` checkpoint: its tokenizer, and the rule that prepares pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from clipshelf.errors import ExportError
from clipshelf.model.artifact import ImageSpec, Resample, TextSpec
from transformers import AutoTokenizer, CLIPImageProcessor, CLIPTextConfig

from clipshelf_export.checkpoints.messages import first_line

# Pillow's numbers of resampling filters, which preprocessor_config.json uses
RESAMPLES: dict[int, Resample] = {1: "lanczos", 2: "bilinear", 3: "bicubic"}
# Old configurations give this eos_token_id whatever their tokenizer says; transformers then pools at the largest id.
LEGACY_EOS = 2


def read_tokenizer(folder: Path, config: CLIPTextConfig) -> tuple[str, TextSpec]:
    """Read the tokenizer of a checkpoint.

    - `folder`: holds tokenizer.json, or vocab.json and merges.txt.
    - `config`: the configuration of the text tower, which the tokenizer must fit.

    Returns the text of tokenizer.json and the limits of the text tower. Raises ExportError where a file is missing or
    malformed, or where tokenizer and configuration contradict each other.
    """
    names = {path.name for path in folder.iterdir()}
    if "tokenizer.json" not in names and not {"vocab.json", "merges.txt"} <= names:
        raise ExportError(f"{folder}: expected tokenizer.json, or vocab.json and merges.txt, found neither")
    try:
        auto: Any = AutoTokenizer  # only half typed
        tokenizer = auto.from_pretrained(folder, local_files_only=True, use_fast=True)
        backend = tokenizer.backend_tokenizer
    except Exception as error:  # tokenizers raises bare Exception on malformed files
        raise ExportError(f"{folder}: expected a fast tokenizer, found: {first_line(error)}") from error
    backend.no_padding()
    backend.no_truncation()
    ids = {name: getattr(tokenizer, f"{name}_token_id") for name in ("bos", "eos", "pad")}
    ids["pad"] = ids["eos"] if ids["pad"] is None else ids["pad"]
    for name, value in ids.items():
        if value is None:
            raise ExportError(f"{folder}: expected a tokenizer with a {name} token, found none")
    _check_tokens(config, [*backend.get_vocab(with_added_tokens=False).values(), *ids.values()], ids["eos"])
    max_tokens = min(config.max_position_embeddings, tokenizer.model_max_length)
    return backend.to_str(), TextSpec(max_tokens, ids["pad"], ids["bos"], ids["eos"], attention_mask=False)


def _check_tokens(config: CLIPTextConfig, ids: Sequence[int], eos_id: int) -> None:
    """Raise ExportError if the text tower has no row for one of `ids`, or pools at another token than `eos_id`."""
    size, largest = config.vocab_size, max(ids)
    if largest >= size:
        raise ExportError(
            f"text_config.vocab_size: expected more than the tokenizer's largest id {largest}, found {size}"
        )
    if config.eos_token_id not in (LEGACY_EOS, eos_id):
        expected = f"the tokenizer's {eos_id}, or {LEGACY_EOS} in old checkpoints"
        raise ExportError(f"text_config.eos_token_id: expected {expected}, found {config.eos_token_id}")


def read_processor(folder: Path) -> CLIPImageProcessor:
    """Read preprocessor_config.json in `folder`. Raises ExportError where it is missing or malformed."""
    try:
        return CLIPImageProcessor.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, TypeError) as error:
        raise ExportError(f"{folder}: expected preprocessor_config.json, found: {first_line(error)}") from error


def image_spec(processor: CLIPImageProcessor, size: int) -> ImageSpec:
    """Translate an image processor to the resize rule of an artifact.

    - `processor`: must resize, crop the centre, scale by 1/255 and normalise, in this order.
    - `size`: S, the edge in pixels of the pictures that the vision tower takes.

    Raises ExportError where the processor does anything else, or yields another size.
    """
    if not processor.do_resize or not processor.do_rescale or abs(processor.rescale_factor * 255 - 1) > 1e-6:
        raise ExportError("preprocessor_config.json: expected do_resize and do_rescale by 1/255, found otherwise")
    if processor.resample not in RESAMPLES:
        raise ExportError(f"preprocessor_config.json: resample: expected 1, 2 or 3, found {processor.resample}")
    resample, crop, resize = RESAMPLES[processor.resample], processor.crop_size, processor.size
    square = {"height": size, "width": size}
    if "shortest_edge" in resize and processor.do_center_crop and dict(crop) == square:
        return ImageSpec(size, "shortest", int(resize["shortest_edge"]), resample)
    if dict(resize) == square and (not processor.do_center_crop or dict(crop) == square):
        return ImageSpec(size, "squash", size, resample)
    rule = f"size {dict(resize)}, crop {dict(crop) if processor.do_center_crop else 'off'}"
    raise ExportError(f"preprocessor_config.json: expected a way to {size} x {size} pixels, found {rule}")
