"""Load a folder with two ready ONNX towers, without torch.

Two layouts are known. That of immich-app on the hub:

    config.json                  the settings of open_clip: vision_cfg, text_cfg
    visual/model.onnx            with visual/preprocess_cfg.json
    textual/model.onnx           with textual/tokenizer.json and textual/tokenizer_config.json

and that of onnx-community, for transformers.js:

    config.json                  that of transformers
    onnx/vision_model.onnx, onnx/text_model.onnx
    preprocessor_config.json, tokenizer.json, tokenizer_config.json
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from clipshelf.errors import ExportError
from clipshelf.files import FileRecord
from clipshelf.model.artifact import TextSpec

from clipshelf_export.checkpoints.image_rules import ImageRule, read_image_rule
from clipshelf_export.checkpoints.json_files import read_json
from clipshelf_export.checkpoints.onnx_ports import pixel_input, text_tower, vision_tower
from clipshelf_export.checkpoints.onnx_reference import OnnxPipeline, OnnxReference
from clipshelf_export.checkpoints.open_clip_rule import DEFAULT_CONTEXT, edge, image_rule
from clipshelf_export.checkpoints.open_clip_texts import repaired
from clipshelf_export.checkpoints.plain_tokenizer import read_plain_tokenizer
from clipshelf_export.checkpoints.tokenizer_files import TokenizerFile, check_ids, cleaned
from clipshelf_export.checkpoints.towers import Checkpoint, OnnxTower, TokenInput

IMMICH = ("visual/model.onnx", "textual/model.onnx")
IMMICH_FAMILY = "immich"
COMMUNITY = ("onnx/vision_model.onnx", "onnx/text_model.onnx")
# Model types of transformers whose text towers see padding and have no mask: they take texts of one length.
PADDED_TYPES = frozenset({"siglip", "siglip2"})


@dataclass(frozen=True)
class _Parts:
    """What a layout says of its model.

    - `family`: for the manifest.
    - `graphs`: the files of the vision tower and of the text tower.
    - `rule`: how pictures are prepared; None where the vision graph alone knows the size.
    - `tokenizer`: with the cleaning of texts, if there is any.
    - `context`: the longest text.
    - `padded`: whether each text is padded to `context`.
    """

    family: str
    graphs: tuple[Path, Path]
    rule: ImageRule
    tokenizer: TokenizerFile
    context: int
    padded: bool


def has_towers(folder: Path) -> bool:
    """Tell whether a folder has two ready towers in a known layout."""
    return any(all((folder / name).is_file() for name in names) for names in (IMMICH, COMMUNITY))


def load(folder: Path, origin: Mapping[str, Any]) -> Checkpoint:
    """Load a folder with two ready towers.

    - `origin`: its name, and its revision and licence where known, for the manifest.

    Raises ExportError naming what is missing, malformed or not supported.
    """
    if all((folder / name).is_file() for name in IMMICH):
        parts = _read_immich(folder)
    elif all((folder / name).is_file() for name in COMMUNITY):
        parts = _read_community(folder)
    else:
        raise ExportError(
            f"{folder}: expected {' and '.join(IMMICH)}, or {' and '.join(COMMUNITY)}, found neither pair"
        )
    vision_path, text_path = parts.graphs
    vision = vision_tower(vision_path, parts.rule)
    text = text_tower(text_path, parts.tokenizer, parts.context, padded=parts.padded)
    if parts.family == IMMICH_FAMILY and isinstance(text.input, TokenInput) and text.input.mask is None:
        # these graphs come from open_clip, which repairs texts; those with a mask are M-CLIP's
        parts = replace(parts, tokenizer=repaired(parts.tokenizer))
    spec = _text_spec(parts, text, str(folder))
    reference = OnnxReference(vision_path, text_path, vision, text)
    return Checkpoint(
        family=parts.family,
        source={**origin, "weights": _hashes(folder, parts.graphs)},
        licence=str(origin.get("licence", "unknown")),
        image_spec=parts.rule.spec,
        text_spec=spec,
        vision=vision,
        text=text,
        tokenizer_json=parts.tokenizer.json,
        reference=reference,
        pipeline=OnnxPipeline(reference, parts.rule, parts.tokenizer, spec),
    )


def _read_immich(folder: Path) -> _Parts:
    config = read_json(folder / "config.json")
    vision, text = config.get("vision_cfg"), config.get("text_cfg")
    if not isinstance(vision, Mapping) or not isinstance(text, Mapping):
        found = ", ".join(config) or "none"
        raise ExportError(f"{folder}/config.json: expected vision_cfg and text_cfg, found {found}")
    rule = image_rule(read_json(folder / "visual" / "preprocess_cfg.json"), edge(vision.get("image_size", 224)))
    tokenizer = read_plain_tokenizer(folder / "textual")
    if text.get("hf_tokenizer_name") is not None or text.get("hf_model_name") is not None:
        tokenizer = cleaned(tokenizer, str((text.get("tokenizer_kwargs") or {}).get("clean", "whitespace")))
    context = int(text.get("context_length", DEFAULT_CONTEXT))
    return _Parts(IMMICH_FAMILY, (folder / IMMICH[0], folder / IMMICH[1]), rule, tokenizer, context, padded=True)


def _read_community(folder: Path) -> _Parts:
    config = read_json(folder / "config.json")
    graphs = folder / COMMUNITY[0], folder / COMMUNITY[1]
    vision, text = (config.get(name) or {} for name in ("vision_config", "text_config"))
    size = vision.get("image_size") or config.get("image_size") or pixel_input(graphs[0])
    model_type = str(config.get("model_type", "unknown"))
    processor = "SiglipImageProcessor" if model_type in PADDED_TYPES else "CLIPImageProcessor"
    tokenizer = read_plain_tokenizer(folder)
    positions = text.get("max_position_embeddings") or config.get("max_position_embeddings")
    default = 64 if model_type in PADDED_TYPES else DEFAULT_CONTEXT
    context = min(int(positions or default), tokenizer.max_tokens)
    rule = read_image_rule(folder, int(size), processor)
    return _Parts(model_type, graphs, rule, tokenizer, context, padded=model_type in PADDED_TYPES)


def _text_spec(parts: _Parts, text: OnnxTower, source: str) -> TextSpec:
    """Return the limits of the text tower, as its graph and its tokenizer have them."""
    tokenizer = parts.tokenizer
    if tokenizer.eos_id is None:
        raise ExportError(f"{source}: expected a tokenizer that ends each text with a special token, found none")
    pad = tokenizer.eos_id if tokenizer.pad_id is None else tokenizer.pad_id
    bos = tokenizer.eos_id if tokenizer.bos_id is None else tokenizer.bos_id
    tables = [value for value in text.constants.values() if value.ndim == 2 and value.dtype.kind == "f"]
    check_ids(tokenizer, max((len(table) for table in tables), default=1 << 62), (bos, pad, tokenizer.eos_id))
    source_input = text.input
    if not isinstance(source_input, TokenInput):
        raise ExportError(f"{source}: expected a text graph that takes token ids, found pixels")
    length = parts.context if source_input.padding is None else min(parts.context, source_input.padding.length)
    return TextSpec(length, pad, bos, tokenizer.eos_id, attention_mask=source_input.mask is not None)


def _hashes(folder: Path, graphs: tuple[Path, Path]) -> dict[str, str]:
    """Return the SHA-256 of both graphs and of the weights beside them, by their paths in the folder."""
    files = [path for graph in graphs for path in sorted(graph.parent.glob(f"{graph.name}*"))]
    return {path.relative_to(folder).as_posix(): FileRecord.of(path).sha256 for path in files}
