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
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from clipshelf.catalogue.disk.manifest import MOST_COUNT, SHARDS_MANIFEST, file_record, is_plain_name
from clipshelf.catalogue.relevance_curve import RelevanceCurve
from clipshelf.catalogue.statistics import Statistics
from clipshelf.catalogue.typed_columns.kinds import KINDS, check_declarations
from clipshelf.errors import CatalogueError, InputError
from clipshelf.files import FileRecord, read_regular
from clipshelf.json_parsing import parse_json

FORMAT = 1
MANIFEST = SHARDS_MANIFEST
MOST_SHARDS = 1 << 12
_MOST_BYTES = 1 << 28
_MOST_DIM = 1 << 16
_OUR_FOLDER = re.compile(r"(pooled|shard-[0-9]{4,})\.[0-9]{1,16}")
_TYPES: dict[str, tuple[type, ...]] = {
    "generation": (int,),
    "fingerprint": (str,),
    "model": (str, type(None)),
    "dim": (int,),
    "shards": (list,),
    "kinds": (dict,),
    "declarations": (dict,),
    "word_columns": (list,),
    "words": (dict, type(None)),
    "statistics": (dict,),
    "relevance_curve": (dict, type(None)),
    "next_ordinal": (int,),
    "files": (dict,),
}


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
        raise CatalogueError(f"{path}: format: expected {FORMAT}, found {found!r:.80}")
    sealed = data.pop("sha256", None)
    if content != _sealed(data):
        raise CatalogueError(
            f"{path}: expected a text with the sha256 that it names, {sealed!r:.80}, found a changed one"
        )
    try:
        return _parsed(path, data)
    except InputError as error:
        raise CatalogueError(f"{path}: {error}") from error


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
    return _OUR_FOLDER.fullmatch(name) is not None


def _parsed(path: Path, data: Mapping[str, Any]) -> ShardedManifest:
    """The manifest of these fields; raises CatalogueError naming the field that does not hold what it should."""
    for name, types in _TYPES.items():
        if name not in data:
            raise CatalogueError(f"{path}: expected the field {name}, found none")
        if type(data[name]) not in types:
            raise CatalogueError(f"{path}: {name}: expected {types[0].__name__}, found {data[name]!r:.80}")
    dim, declarations = data["dim"], data["declarations"]
    for name, least, most in (("generation", 1, MOST_COUNT), ("dim", 1, _MOST_DIM), ("next_ordinal", 0, MOST_COUNT)):
        if not least <= data[name] <= most:
            raise CatalogueError(f"{path}: {name}: expected {least} to {most}, found {data[name]!r:.40}")
    if not all(kind in KINDS for kind in data["kinds"].values()):
        raise CatalogueError(f"{path}: kinds: expected known kinds, found others")
    if not all(isinstance(text, str) for text in (*declarations.values(), *data["word_columns"])):
        raise CatalogueError(f"{path}: declarations, word_columns: expected texts, found others")
    check_declarations(declarations)
    wrong = [name for name in data["files"] if not is_plain_name(name)]
    if wrong:
        raise CatalogueError(f"{path}: files: expected plain file names, found {wrong[0]!r:.80}")
    curve = data["relevance_curve"]
    return ShardedManifest(
        generation=data["generation"],
        fingerprint=data["fingerprint"],
        model=data["model"],
        dim=dim,
        shards=_shards(path, data["shards"]),
        kinds=data["kinds"],
        declarations=declarations,
        word_columns=tuple(data["word_columns"]),
        words=_words(path, data["words"]),
        statistics=Statistics.from_dict(data["statistics"], dim),
        relevance_curve=None if curve is None else RelevanceCurve.from_dict(curve),
        next_ordinal=data["next_ordinal"],
        files={name: file_record(path, record) for name, record in data["files"].items()},
    )


def _shards(path: Path, listed: list[Any]) -> tuple[ShardRecord, ...]:
    """The records of the shards; raises CatalogueError unless each is one, of a folder of its own."""
    if not 1 <= len(listed) <= MOST_SHARDS:
        raise CatalogueError(f"{path}: shards: expected 1 to {MOST_SHARDS}, found {len(listed)}")
    shards = []
    for record in listed:
        names = ("folder", "products", "sha256")
        values: list[Any] = [record.get(name) for name in names] if isinstance(record, dict) else []
        if list(map(type, values)) != [str, int, str] or not is_ours(values[0]) or not 0 <= values[1] < MOST_COUNT:
            raise CatalogueError(f"{path}: shards: expected folder, products and sha256 of each, found {record!r:.80}")
        shards.append(ShardRecord(*values))
    if len({shard.folder for shard in shards}) < len(shards):
        raise CatalogueError(f"{path}: shards: expected a folder of its own for each, found one twice")
    return tuple(shards)


def _words(path: Path, data: Any) -> WordCounts | None:
    """What is pooled of words; raises CatalogueError for anything else."""
    if data is None:
        return None
    count, mean_length = data.get("count"), data.get("mean_length")
    are_numbers = type(count) is int and type(mean_length) in (int, float)
    if are_numbers and 0 <= count < MOST_COUNT and 1 <= mean_length < MOST_COUNT:
        return WordCounts(count, float(mean_length))
    raise CatalogueError(f"{path}: words: expected count and mean_length from 1 on, found {data!r:.80}")


def _sealed(data: Mapping[str, Any]) -> bytes:
    """The text of a manifest: its fields, then their checksum."""
    plain = json.dumps(data, indent=2, ensure_ascii=False)
    digest = hashlib.sha256(plain.encode("utf-8", "surrogatepass")).hexdigest()
    return json.dumps({**data, "sha256": digest}, indent=2, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n"
