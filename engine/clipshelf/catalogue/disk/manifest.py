"""The manifest of a catalogue: the files of the current generation, with their sizes and checksums.

The manifest is replaced in one step, so a reader finds the state before a save or the state after it, never a mixture.
Its last field is a SHA-256 over all others. The same fields always give the same text, so any changed byte is noticed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, get_args

from clipshelf.catalogue.kinds import Kind
from clipshelf.errors import CatalogueError
from clipshelf.files import FileRecord

FORMAT = 1
MANIFEST = "manifest.json"

_TYPES = {
    "generation": (int,),
    "products": (int,),
    "dim": (int,),
    "fingerprint": (str,),
    "model": (str, type(None)),
    "root": (str,),
    "columns": (dict,),
    "files": (dict,),
}


@dataclass(frozen=True)
class CatalogueManifest:
    """The fields of a catalogue's `manifest.json`.

    - `generation`: number of the generation, from 1.
    - `products`: N.
    - `dim`: D, the width of one side.
    - `fingerprint`: of the model that embedded the products.
    - `model`: path of that model's artifact, None for the embedded default.
    - `root`: the folder that relative picture paths start from.
    - `columns`: the kind of each column by name.
    - `files`: size and SHA-256 of every other file by name; the name up to the first dot is the file's role.
    """

    generation: int
    products: int
    dim: int
    fingerprint: str
    model: str | None
    root: str
    columns: Mapping[str, Kind]
    files: Mapping[str, FileRecord]

    def name(self, role: str) -> str:
        """Return the name of the file with the role `role`; raises CatalogueError where there is none."""
        for name in self.files:
            if name.split(".")[0] == role:
                return name
        raise CatalogueError(f"{MANIFEST}: files: expected one of {role}, found none")

    def to_bytes(self) -> bytes:
        """Return the content of `manifest.json`."""
        return _seal({"format": FORMAT, **asdict(self)})


def read_manifest(folder: Path) -> CatalogueManifest:
    """Read the manifest of the catalogue in `folder`; raises CatalogueError unless there is one of this format."""
    path = folder / MANIFEST
    try:
        content = path.read_bytes()
        data = json.loads(content)
    except FileNotFoundError:
        raise CatalogueError(f"{folder}: expected a catalogue folder with a {MANIFEST}, found none") from None
    except (OSError, ValueError, RecursionError) as error:
        raise CatalogueError(f"{path}: expected a catalogue manifest in JSON, found: {error}") from error
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        found = data.get("format") if isinstance(data, dict) else type(data).__name__
        raise CatalogueError(f"{path}: format: expected {FORMAT}, found {found}")
    sealed = data.pop("sha256", None)
    expected = _seal(data)
    if content != expected:
        raise CatalogueError(f"{path}: expected a text with the sha256 that it names, {sealed}, found a changed one")
    for name, kinds in _TYPES.items():
        if not isinstance(data.get(name), kinds):
            raise CatalogueError(f"{path}: {name}: expected {kinds[0].__name__}, found {data.get(name)!r}")
    return _manifest(path, data)


def _seal(data: dict[str, Any]) -> bytes:
    """The text of a manifest: the fields of `data`, then their checksum."""
    plain = json.dumps(data, indent=2, ensure_ascii=False)
    sealed = {**data, "sha256": hashlib.sha256(plain.encode()).hexdigest()}
    return json.dumps(sealed, indent=2, ensure_ascii=False).encode() + b"\n"


def _manifest(path: Path, data: dict[str, Any]) -> CatalogueManifest:
    try:
        files = {name: FileRecord(int(file["bytes"]), str(file["sha256"])) for name, file in data["files"].items()}
        manifest = CatalogueManifest(**{f.name: data[f.name] for f in fields(CatalogueManifest)} | {"files": files})
    except (KeyError, TypeError, ValueError) as error:
        raise CatalogueError(f"{path}: files: expected bytes and sha256 of each, found another record") from error
    wrong = [name for name in files if Path(name).name != name or name in ("", ".", "..")]
    wrong += [kind for kind in manifest.columns.values() if kind not in get_args(Kind)]
    if wrong or min(manifest.products, manifest.dim - 1, manifest.generation - 1) < 0:
        raise CatalogueError(f"{path}: expected plain file names, known kinds and sizes from 0, found others {wrong}")
    return manifest
