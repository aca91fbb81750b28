"""Load a checkpoint from a folder or a hub id: find its files, then the loader of its family.

A local folder is read without the network. A hub id is fetched once through `huggingface_hub`, then read as a folder.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from clipshelf.errors import ExportError

from clipshelf_export.checkpoints import bundled_default, clip
from clipshelf_export.checkpoints.messages import first_line
from clipshelf_export.checkpoints.towers import Checkpoint

HUB_FILES = ("*.json", "*.txt", "*.safetensors")


def load_checkpoint(source: str) -> Checkpoint:
    """Load a checkpoint of a known family.

    - `source`: a folder, or the id of a model on the Hugging Face hub.

    Returns the checkpoint. Raises ExportError where `source` holds no checkpoint, or one of a family without a loader.
    """
    folder = Path(source)
    origin: dict[str, Any] = {"name": folder.resolve().name}
    if folder.is_file():
        raise ExportError(f"{source}: expected a hub id or a folder, found a file")
    if not folder.is_dir():
        folder = _fetch(source)
        origin = {"name": source, "revision": folder.name}
    config = _read_config(folder)
    if config.get("family") == bundled_default.FAMILY:
        return bundled_default.load(folder, config, origin)
    if config.get("model_type") == "clip":
        return clip.load(folder, config, origin)
    family = config.get("model_type") or config.get("family") or "no model_type"
    raise ExportError(f"{source}: expected a CLIP checkpoint (model_type clip), found {family}")


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    if not path.is_file():
        raise ExportError(f"{folder}: expected a checkpoint with config.json, found none")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ExportError(f"{path}: expected JSON, found: {error}") from error
    if not isinstance(config, dict):
        raise ExportError(f"{path}: expected an object, found {type(config).__name__}")
    return config


def _fetch(hub_id: str) -> Path:
    """Fetch a hub checkpoint with safetensors, or with pytorch_model.bin where it has none; return its folder."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(hub_id, allow_patterns=[*HUB_FILES]))
        if not any(folder.glob("*.safetensors")):
            folder = Path(snapshot_download(hub_id, allow_patterns=[*HUB_FILES, "pytorch_model*"]))
    except HFValidationError as error:
        raise ExportError(f"{hub_id}: expected a hub id or a folder, found no such folder") from error
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        reason = first_line(error)
        raise ExportError(f"{hub_id}: no such folder, and as a hub id it could not be fetched: {reason}") from error
    return folder
