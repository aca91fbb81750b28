"""The manifest of a sharded catalogue, `shards.json`: its shards, and what is pooled over all of them.

    shards.json              replaced in one step: a reader sees one generation or the next
    shard-<number>.<gen>/    an ordinary catalogue, written by that generation and never changed after it
    pooled.<gen>/            what is pooled over the shards, see `pooling`
    building/                what an interrupted `clipshelf scale index` has done, see `indexing`
    .lock                    locked while a process writes to the folder

A product belongs to the shard that the key of its id says: the first 8 bytes of the SHA-256 in `content_keys`, modulo
the number of shards. The folders of the generation before stay until the next one, for processes that still read them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from clipshelf.catalogue.relevance_curve import RelevanceCurve
from clipshelf.catalogue.statistics import Statistics
from clipshelf.errors import CatalogueError
from clipshelf.files import FileRecord, read_regular
from clipshelf.json_parsing import parse_json

FORMAT = 1
MANIFEST = "shards.json"
MOST_SHARDS = 1 << 12
_MOST_BYTES = 1 << 28


@dataclass(frozen=True)
class ShardRecord:
    """One shard.

    - `folder`: its name, below the folder of the sharded catalogue.
    - `products`: how many it has.
    - `sha256`: of its `manifest.json`, which names its files with their checksums.
    """

    folder: str
    products: int
    sha256: str


@dataclass(frozen=True)
class WordCounts:
    """What BM25 knows of all products: their number, and the mean number of tokens."""

    count: int
    mean_length: float


@dataclass(frozen=True, kw_only=True)
class ShardedManifest:
    """The fields of `shards.json`.

    - `generation`: from 1.
    - `fingerprint`, `model`, `dim`: as in the manifest of a catalogue.
    - `shards`: one record each.
    - `kinds`, `declarations`: of columns, pooled over the shards.
    - `word_columns`: the fields whose words are indexed; `words` what is pooled of them.
    - `statistics`: means and spreads of all embeddings.
    - `relevance_curve`: what was fitted to the shop's own queries.
    - `next_ordinal`: above the ordinals of all products, see `pooling`.
    - `files`: the pooled files, by name.
    """

    generation: int
    fingerprint: str
    model: str | None
    dim: int
    shards: tuple[ShardRecord, ...]
    kinds: Mapping[str, Any]
    declarations: Mapping[str, str]
    word_columns: tuple[str, ...]
    words: WordCounts | None
    statistics: Statistics
    relevance_curve: RelevanceCurve | None
    next_ordinal: int
    files: Mapping[str, FileRecord]

    @property
    def products(self) -> int:
        """N over all shards."""
        return sum(shard.products for shard in self.shards)

    @property
    def pooled_folder(self) -> str:
        """The name of the folder with the pooled files."""
        return f"pooled.{self.generation}"

    def to_bytes(self) -> bytes:
        """The content of `shards.json`."""
        return _sealed({"format": FORMAT, **asdict(self), "statistics": self.statistics.to_dict()})


def read_manifest(folder: Path) -> ShardedManifest:
    """Read the manifest of a sharded catalogue; raises CatalogueError unless there is one of this format."""
    path = folder / MANIFEST
    try:
        content = read_regular(path, _MOST_BYTES)
        data = parse_json(content)
    except (FileNotFoundError, NotADirectoryError):
        raise CatalogueError(
            f"{folder}: expected the folder of a sharded catalogue with a {MANIFEST}, found none"
        ) from None
    except (OSError, ValueError) as error:
        raise CatalogueError(f"{path}: expected a manifest in JSON, found: {error}") from error
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        found = data.get("format") if isinstance(data, dict) else type(data).__name__
        raise CatalogueError(f"{path}: format: expected {FORMAT}, found {found}")
    sealed = data.pop("sha256", None)
    if content != _sealed(data):
        raise CatalogueError(f"{path}: expected a text with the sha256 that it names, {sealed}, found a changed one")
    try:
        return _parsed(data)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CatalogueError(f"{path}: expected the fields of a sharded catalogue, found: {error!r}") from error


def current_generation(folder: Path) -> int:
    """The generation of the sharded catalogue in a folder, 0 for none; raises CatalogueError for other contents."""
    if (folder / MANIFEST).exists():
        return read_manifest(folder).generation
    known = ("building", ".lock", "lost+found")
    foreign = [path.name for path in folder.iterdir() if not is_ours(path.name) and path.name not in known]
    if foreign:
        raise CatalogueError(
            f"{folder}: expected a new, an empty or a sharded catalogue's folder, found other files: {foreign[0]}"
        )
    return 0


def is_ours(name: str) -> bool:
    """Whether a name is that of a folder of some generation."""
    stem, _, generation = name.rpartition(".")
    return generation.isdecimal() and (stem == "pooled" or stem.startswith("shard-"))


def _parsed(data: Mapping[str, Any]) -> ShardedManifest:
    shards = tuple(ShardRecord(**shard) for shard in data["shards"])
    if not 1 <= len(shards) <= MOST_SHARDS or not all(is_ours(shard.folder) for shard in shards):
        raise ValueError("shards")
    if not all("/" not in name and name[:1] not in ("", ".") for name in data["files"]):
        raise ValueError("files")
    words, curve, dim = data["words"], data["relevance_curve"], int(data["dim"])
    return ShardedManifest(
        generation=int(data["generation"]),
        fingerprint=str(data["fingerprint"]),
        model=data["model"],
        dim=dim,
        shards=shards,
        kinds=dict(data["kinds"]),
        declarations=dict(data["declarations"]),
        word_columns=tuple(data["word_columns"]),
        words=None if words is None else WordCounts(**words),
        statistics=Statistics.from_dict(data["statistics"], dim),
        relevance_curve=None if curve is None else RelevanceCurve.from_dict(curve),
        next_ordinal=int(data["next_ordinal"]),
        files={name: FileRecord(**record) for name, record in data["files"].items()},
    )


def _sealed(data: Mapping[str, Any]) -> bytes:
    """The text of a manifest: its fields, then their checksum."""
    plain = json.dumps(data, indent=2, ensure_ascii=False)
    digest = hashlib.sha256(plain.encode("utf-8", "surrogatepass")).hexdigest()
    return json.dumps({**data, "sha256": digest}, indent=2, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n"
