"""What a folder holds, in words: an artifact or a catalogue."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from clipshelf.catalogue.catalogue import Catalogue
from clipshelf.catalogue.disk.manifest import read_manifest
from clipshelf.errors import ClipshelfError
from clipshelf.model.artifact import MANIFEST, Artifact

_SHA256 = re.compile("[0-9a-f]{64}")


def manifest(folder: Path) -> dict[str, Any]:
    """The manifest of an artifact or a catalogue, after the folder was checked against it. Raises ClipshelfError."""
    if _is_catalogue(folder):
        Catalogue.load(folder)
        text = read_manifest(folder).to_bytes().decode()
    else:
        artifact = Artifact.open(folder)
        artifact.verify()
        text = artifact.manifest.to_json()
    found: dict[str, Any] = json.loads(text)
    return found


def describe(folder: Path) -> str:
    """The same as text for people, one fact per line."""
    facts = manifest(folder)
    kind = "catalogue" if "products" in facts else "artifact"
    if kind == "catalogue":
        facts["model"] = facts["model"] or "the embedded default"
    size = sum(record["bytes"] for record in facts["files"].values())
    head = f"{folder}: {kind}, {len(facts['files'])} files, {size / 1e6:.1f} MB, as the manifest says"
    return "\n".join([head, *_lines(facts, "  ")])


def _is_catalogue(folder: Path) -> bool:
    """Whether the manifest is that of a catalogue, which alone counts products."""
    try:
        found = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ClipshelfError(
            f"{folder}: expected the folder of an artifact or a catalogue, found no {MANIFEST}"
        ) from None
    except ValueError as error:
        raise ClipshelfError(f"{folder / MANIFEST}: expected JSON, found: {error}") from error
    return isinstance(found, dict) and "products" in found


def _lines(facts: dict[str, Any], indent: str) -> list[str]:
    """Nested facts as aligned lines; a record without further records inside takes one line, and one per list item."""
    width = max((len(name) for name in facts), default=0)
    lines = []
    for name, value in facts.items():
        if isinstance(value, dict) and any(isinstance(inner, dict) for inner in value.values()):
            lines += [f"{indent}{name}", *_lines(value, indent + "  ")]
        elif isinstance(value, dict):
            lists = {k: v for k, v in value.items() if isinstance(v, list)}
            flat = ", ".join(f"{k} {_plain(v)}" for k, v in value.items() if k not in lists)
            lines.append(f"{indent}{name:{width}}  {flat}".rstrip())
            lines += [f"{indent}  {k}: {_plain(item)}" for k, items in lists.items() for item in items]
        else:
            lines.append(f"{indent}{name:{width}}  {_plain(value)}")
    return lines


def _plain(value: object) -> str:
    """As people read it: six digits of a number, the head of a hash, which `manifest` has whole."""
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list):
        return ", ".join(map(_plain, value))
    if isinstance(value, str) and _SHA256.fullmatch(value):
        return value[:12]
    return str(value)
