"""From a hub id or a folder to a checkpoint: finds the files, and the loader for their family.

A local folder is read without the network. A hub id is fetched once through huggingface_hub, then read like a folder.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from clipshelf.errors import ExportError

from clipshelf_export.checkpoints import bundled_default, clip
from clipshelf_export.checkpoints.towers import Checkpoint

FILES = ["*.json", "*.txt", "*.safetensors"]


def load(source: str) -> Checkpoint:
    """Load a checkpoint. Raises ExportError if it is none, or of a family without a loader."""
    folder = Path(source)
    name: dict[str, Any] = {"name": folder.resolve().name}
    if folder.is_file():
        raise ExportError(f"{source}: expected a hub id or a folder, found a file")
    if not folder.is_dir():
        folder, name = _fetch(source), {"name": source}
        name["revision"] = folder.name
    config = _read_config(folder)
    if config.get("family") == bundled_default.FAMILY:
        return bundled_default.load(folder, config, name)
    if config.get("model_type") == "clip":
        return clip.load(folder, config, name)
    found = config.get("model_type") or config.get("family") or "no model_type"
    raise ExportError(f"{source}: expected a CLIP checkpoint (model_type clip), found {found}")


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


def _fetch(source: str) -> Path:
    """Folder of a hub checkpoint: safetensors, else the older pytorch_model.bin."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(source, allow_patterns=FILES))
        if not any(folder.glob("*.safetensors")):
            folder = Path(snapshot_download(source, allow_patterns=[*FILES, "pytorch_model*"]))
    except HFValidationError as error:
        raise ExportError(f"{source}: expected a hub id or a folder, found no such folder") from error
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise ExportError(f"{source}: no such folder, and as a hub id it could not be fetched: {reason}") from error
    return folder
