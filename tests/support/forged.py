"""Forges saved catalogues: other content under the right checksums, as a stranger could make them."""

from __future__ import annotations

import hashlib
import io
import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from clipshelf.catalogue.disk.checksummed import BLOCK


def read_fields(folder: Path) -> dict[str, Any]:
    """The fields of a manifest, without its checksum."""
    fields: dict[str, Any] = json.loads((folder / "manifest.json").read_bytes())
    del fields["sha256"]
    return fields


def seal(folder: Path, fields: dict[str, Any]) -> None:
    """Write a manifest with the checksum that it should have."""
    plain = json.dumps(fields, indent=2, ensure_ascii=False).encode("utf-8", "surrogatepass")
    sealed = {**fields, "sha256": hashlib.sha256(plain).hexdigest()}
    text = json.dumps(sealed, indent=2, ensure_ascii=False).encode("utf-8", "surrogatepass")
    (folder / "manifest.json").write_bytes(text + b"\n")


def replace_file(folder: Path, role: str, content: bytes) -> None:
    """Replace the file of a role, and all checksums that cover it."""
    fields = read_fields(folder)
    names = list(fields["files"])
    name = next(name for name in names if name.split(".")[0] == role)
    (folder / name).write_bytes(content)
    fields["files"][name] = record(content)
    if role != "blocks":
        blocks = next(name for name in names if name.startswith("blocks."))
        sums = [block_sums((folder / name).read_bytes()) for name in names if name != blocks]
        content = npy(np.array([each for part in sums for each in part], np.uint32))
        (folder / blocks).write_bytes(content)
        fields["files"][blocks] = record(content)
    seal(folder, fields)


def record(content: bytes) -> dict[str, Any]:
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def block_sums(content: bytes) -> list[int]:
    return [zlib.crc32(content[start : start + BLOCK]) for start in range(0, len(content), BLOCK)]


def npy(array: Any) -> bytes:
    """An array as a `.npy` file."""
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()
