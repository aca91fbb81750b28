"""JSON files of a checkpoint."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from clipshelf.errors import ExportError

from clipshelf_export.checkpoints.messages import first_line

KINDS: dict[type, str] = {dict: "an object", list: "an array"}


def read_json(path: Path, kind: type = dict) -> Any:
    """Read a JSON file.

    - `kind`: `dict` or `list`, which its top level must be.

    Raises ExportError where it is missing or malformed.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ExportError(f"{path}: expected a JSON file, found none") from None
    except (OSError, ValueError) as error:
        raise ExportError(f"{path}: expected JSON, found: {first_line(error)}") from error
    if not isinstance(content, kind):
        raise ExportError(f"{path}: expected {KINDS[kind]}, found {type(content).__name__}")
    return content
