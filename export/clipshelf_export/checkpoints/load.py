"""Load a checkpoint from a folder or a hub id: find its files, then the loader of its family.

A local folder is read without the network. A hub id is fetched once through `huggingface_hub`, then read as a folder.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from clipshelf.errors import ExportError

from clipshelf_export.checkpoints import (
    altclip,
    bundled_default,
    chinese_clip,
    clip,
    generic,
    metaclip2,
    onnx_folder,
    open_clip,
    sentence_model,
    siglip,
)
from clipshelf_export.checkpoints.json_files import read_json
from clipshelf_export.checkpoints.library_pipeline import PairedPipeline
from clipshelf_export.checkpoints.messages import first_line
from clipshelf_export.checkpoints.model_card import read_licence
from clipshelf_export.checkpoints.open_clip_files import WEIGHT_FILES
from clipshelf_export.checkpoints.open_clip_rule import CONFIG
from clipshelf_export.checkpoints.reference import PairedReference
from clipshelf_export.checkpoints.sentence_model import TextModel
from clipshelf_export.checkpoints.towers import Checkpoint
from clipshelf_export.checkpoints.weights import check_plain

# The loader of each family by the `model_type` of config.json.
LOADERS = {
    "clip": clip.load,
    "siglip": siglip.load,
    "metaclip_2": metaclip2.load,
    "chinese_clip": chinese_clip.load,
    "altclip": altclip.load,
}
# What other checkpoints are, and what would work.
UNSUPPORTED = {
    "clip_vision_model": "the vision tower of a CLIP alone; the whole checkpoint has model_type clip",
    "clip_text_model": "the text tower of a CLIP alone; the whole checkpoint has model_type clip",
    "siglip_vision_model": "the vision tower of a SigLIP alone; the whole checkpoint has model_type siglip",
    "siglip2": "a SigLIP 2 with NaFlex, which takes pictures of any shape; those of a fixed resolution, such as "
    "siglip2-base-patch16-256, have model_type siglip",
    "siglip2_vision_model": "the vision tower of a SigLIP 2 alone",
}
# Architectures of one tower, which share their model_type with the whole model.
SINGLE_TOWERS = re.compile(r"(Vision|Text)Model(WithProjection)?$")
# Files that are fetched from a hub first; which weights are needed is decided by them.
HUB_FILES = ("*.json", "*.txt", "*.model", "README.md", "*_Dense/*")
HUB_WEIGHTS = (
    ("model*.safetensors", "*/model*.safetensors"),
    ("pytorch_model*", "*/pytorch_model*"),
    ("open_clip*.bin",),
    ("open_clip*.safetensors",),
)


def load_checkpoint(source: str, text_source: str | None = None) -> Checkpoint:
    """Load a checkpoint of a known family.

    - `source`: a folder, or the id of a model on the Hugging Face hub, with `@revision` or without.
    - `text_source`: likewise, a model of sentence-transformers whose text tower replaces that of `source`.

    Returns the checkpoint. Raises ExportError where `source` holds no checkpoint, or one of a family without a loader.
    """
    folder, origin = _find(source)
    checkpoint = load_folder(_model_folder(folder), origin)
    if text_source is None:
        return checkpoint
    folder, origin = _find(text_source)
    check_plain(folder, {})
    return with_text_model(checkpoint, sentence_model.load(folder, origin))


def with_text_model(checkpoint: Checkpoint, text: TextModel) -> Checkpoint:
    """Return a checkpoint with another text tower. Raises ExportError where its dimensions differ from the pictures'.

    The trained `logits` belong to the tower that is replaced, so they are left out.
    """
    if checkpoint.vision.dim != text.tower.dim:
        raise ExportError(
            f"text source: expected embeddings of {checkpoint.vision.dim} dimensions like the pictures', "
            f"found {text.tower.dim}"
        )
    licences = [str(source.get("licence", "unknown")) for source in (checkpoint.source, text.source)]
    return replace(
        checkpoint,
        family=f"{checkpoint.family}+{text.family}",
        source={**checkpoint.source, "text": text.source},
        licence=licences[0] if len(set(licences)) == 1 else f"pictures {licences[0]}, texts {licences[1]}",
        text_spec=text.spec,
        text=text.tower,
        tokenizer_json=text.tokenizer_json,
        reference=PairedReference(checkpoint.reference, text.reference),
        pipeline=None if checkpoint.pipeline is None else PairedPipeline(checkpoint.pipeline, text.pipeline),
        logits={},
    )


def _find(source: str) -> tuple[Path, dict[str, Any]]:
    """Return the folder of a checkpoint, fetched where `source` is a hub id, and what the manifest says of it."""
    folder = Path(source)
    origin: dict[str, Any] = {"name": folder.resolve().name}
    if folder.is_file():
        raise ExportError(f"{source}: expected a hub id or a folder, found a file")
    if not folder.is_dir():
        folder = _fetch(source)
        origin = {"name": source.partition("@")[0], "revision": folder.name}
    if licence := read_licence(folder):
        origin["licence"] = licence
    return folder, origin


def load_folder(folder: Path, origin: dict[str, Any]) -> Checkpoint:
    """Load the checkpoint whose config.json is in `folder`; `origin` and errors as in `load_checkpoint`."""
    if onnx_folder.has_towers(folder) and not any(folder.glob("*.safetensors")) and not any(folder.glob("*.bin")):
        raise ExportError(f"{folder}: expected a checkpoint, found two ready ONNX towers, which clipshelf import reads")
    if _is_open_clip(folder):
        check_plain(folder, {})
        return open_clip.load(folder, origin)
    config = _read_config(folder)
    if config.get("family") == bundled_default.FAMILY:
        return bundled_default.load(folder, config, origin)
    check_plain(folder, config)
    model_type = config.get("model_type")
    loader = LOADERS.get(str(model_type))
    for architecture in config.get("architectures") or ():
        if loader is not None and SINGLE_TOWERS.search(str(architecture)):
            raise ExportError(f"{folder}: expected a model with two towers, found {architecture}")
    if loader is not None and not _has_code(config):
        return loader(folder, config, origin)
    if model_type in UNSUPPORTED or config.get("auto_map") or generic.find_class(str(model_type)) is None:
        raise _unsupported(folder, config)
    return generic.load(folder, config, origin)


def _is_open_clip(folder: Path) -> bool:
    """Tell whether a folder is one of open_clip: it has its configuration, and none of transformers with weights.

    Many checkpoints come in both layouts; the one of transformers is read then, unless it needs code of its own.
    """
    if not (folder / CONFIG).is_file():
        return False
    config = _read_config(folder) if (folder / "config.json").is_file() else {}
    if config.get("model_type") not in LOADERS or _has_code(config):
        return True
    weights = [file for pattern in ("model*.safetensors", "pytorch_model*") for file in folder.glob(pattern)]
    return not weights and any((folder / name).is_file() for name in WEIGHT_FILES)


def _has_code(config: dict[str, Any]) -> bool:
    """Tell whether a checkpoint names code of its own for its model, which may compute something else."""
    return "AutoModel" in (config.get("auto_map") or {})


def _unsupported(folder: Path, config: dict[str, Any]) -> ExportError:
    """Return the error of a checkpoint without a loader, with what it is and what would work."""
    model_type = config.get("model_type") or config.get("family") or "no model_type"
    known = ", ".join(LOADERS)
    what = UNSUPPORTED.get(str(model_type), "")
    if not what and (folder / sentence_model.MODULES).is_file():
        what = "a model of sentence-transformers for texts; --text-source puts one beside the pictures of a CLIP"
    if not what and config.get("auto_map"):
        what = "a model with code of its own, which is not run"
    detail = f": {what}" if what else ""
    expected = f"a CLIP checkpoint or another known one (model_type {known})"
    return ExportError(f"{folder}: expected {expected}, found {model_type}{detail}")


def _model_folder(folder: Path) -> Path:
    """Return the folder that holds config.json: sentence-transformers puts a CLIP into 0_CLIPModel."""
    inner = folder / "0_CLIPModel"
    return inner if (folder / "modules.json").is_file() and inner.is_dir() else folder


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    if not path.is_file():
        raise ExportError(f"{folder}: expected a checkpoint with config.json, found {_layout(folder)}")
    config: dict[str, Any] = read_json(path)
    return config


def _layout(folder: Path) -> str:
    """Return what a folder without config.json looks like."""
    if (folder / "adapter_config.json").is_file():
        return "an adapter (adapter_config.json); merge it into its base first, with merge_and_unload of peft"
    if (folder / "modules.json").is_file():
        return "a model of sentence-transformers without 0_CLIPModel; one of texts alone goes with --text-source"
    if any(folder.glob("*.onnx")) or any(folder.glob("onnx/*.onnx")):
        return "ONNX graphs; clipshelf import reads two ready towers"
    return "none"


def _fetch(source: str) -> Path:
    """Fetch a hub checkpoint, all of one commit: its small files, then safetensors, or PyTorch's where it has none."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    download: Callable[..., str] = snapshot_download
    hub_id, _, revision = source.partition("@")
    try:
        chosen = {"revision": revision} if revision else {}
        folder = Path(download(hub_id, allow_patterns=[*HUB_FILES], **chosen))
        # The cache names the folder of a snapshot by its commit.
        commit = {"revision": folder.name} if re.fullmatch("[0-9a-f]{40}", folder.name) else chosen
        for patterns in HUB_WEIGHTS if not _is_open_clip(folder) else reversed(HUB_WEIGHTS):
            download(hub_id, allow_patterns=[*patterns], **commit)
            if any(file for pattern in patterns for file in folder.glob(pattern)):
                break
    except HFValidationError as error:
        raise ExportError(f"{source}: expected a hub id or a folder, found no such folder") from error
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        reason = first_line(error)
        raise ExportError(f"{source}: no such folder, and as a hub id it could not be fetched: {reason}") from error
    return folder
