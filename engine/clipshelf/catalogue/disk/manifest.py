"""The manifest of a catalogue: the files of the current generation, with their sizes and checksums.

The manifest is replaced in one step, so a reader finds the state before a save or the state after it, never a mixture.
Its last field is a SHA-256 over all others. The same fields always give the same text, so any changed byte is noticed.
That guards against accidents, not against people: whoever can write the folder can write another checksum. So every
field is checked for what it may hold.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from clipshelf.catalogue.relevance_curve import RelevanceCurve
from clipshelf.catalogue.side_parts import FALLOFF, check_falloff
from clipshelf.catalogue.typed_columns.kinds import KINDS, Declaration, Kind
from clipshelf.errors import CatalogueError, InputError
from clipshelf.files import MANIFEST_BYTES, FileRecord, read_regular
from clipshelf.json_parsing import parse_json

FORMAT = 1
MANIFEST = "manifest.json"
SHARDS_MANIFEST = "shards.json"  # of a sharded catalogue, which `clipshelf.scale` reads

MOST_COUNT = 1 << 53  # for numbers of products, bytes and generations: what JSON holds exactly everywhere
_SHA256_DIGITS = 64

_TYPES: dict[str, tuple[type, ...]] = {
    "generation": (int,),
    "products": (int,),
    "dim": (int,),
    "fingerprint": (str,),
    "model": (str, type(None)),
    "root": (str,),
    "relative_model": (str, type(None)),
    "relative_root": (str, type(None)),
    "columns": (dict,),
    "declarations": (dict,),
    "relevance_curve": (dict, type(None)),
    "word_columns": (list,),
    "falloff": (float, int),
    "files": (dict,),
    "counterpart": (int, type(None)),
    "prepared": (dict, type(None)),
    "previous": (dict, type(None)),
}
# Fields that catalogues had not from the beginning, and what they mean where they are missing.
_LATER_FIELDS: Mapping[str, Any] = {
    "relative_model": None,
    "relative_root": None,
    "declarations": {},
    "relevance_curve": None,
    "word_columns": [],
    "falloff": FALLOFF,
    "counterpart": None,
    "prepared": None,
    "previous": None,
}
# Fields that are written only where they have a value.
_OMITTED = ("counterpart", "prepared", "previous")

# The generation that answers, one that `reembed` prepared, and the one before the last switch of models.
Part: TypeAlias = Literal["current", "prepared", "previous"]


@dataclass(frozen=True, kw_only=True)
class CatalogueManifest:
    """The fields of a catalogue's `manifest.json`.

    - `generation`: number of the generation, from 1.
    - `products`: N.
    - `dim`: D, the width of one side.
    - `fingerprint`: of the model that embedded the products.
    - `model`: path of that model's artifact when it was saved, None for the embedded default.
    - `root`: the folder that relative picture paths started from when it was saved.
    - `relative_model`, `relative_root`: both as seen from the catalogue's folder, so that they are found where all was
      moved together; None where there is no such path, and in older catalogues.
    - `columns`: the kind of each column by name.
    - `declarations`: what `columns_of` takes to convert later values of each column alike; empty in older catalogues.
    - `relevance_curve`: what `clipshelf calibrate` fitted; None where it was not run.
    - `word_columns`: the fields whose words are indexed; empty where none are.
    - `falloff`: how much each picture or text of a product counts beside the one before it.
    - `files`: size and SHA-256 of every other file by name; the name up to the first dot is the file's role.
    - `prepared`: the generation that `reembed` made of another one, with another model; None for none.
    - `previous`: the generation before the last switch of models; None for none.
    - `counterpart`: in `prepared`, the generation that it was made of; in `previous`, the one that replaced it; else
      None.

    Two generations may share files. Whether two manifests are equal does not depend on the last three fields.
    """

    generation: int
    products: int
    dim: int
    fingerprint: str
    model: str | None
    root: str
    relative_model: str | None = None
    relative_root: str | None = None
    columns: Mapping[str, Kind]
    declarations: Mapping[str, Declaration] = field(default_factory=dict)
    relevance_curve: RelevanceCurve | None = None
    word_columns: Sequence[str] = ()
    falloff: float = FALLOFF
    files: Mapping[str, FileRecord]
    counterpart: int | None = field(default=None, compare=False)
    prepared: CatalogueManifest | None = field(default=None, compare=False)
    previous: CatalogueManifest | None = field(default=None, compare=False)

    @property
    def generations(self) -> list[CatalogueManifest]:
        """The manifests of all generations in the folder: this one, and those beside it."""
        return [manifest for manifest in (self, self.prepared, self.previous) if manifest is not None]

    def name(self, role: str) -> str:
        """Return the name of the file with the role `role`; raises CatalogueError where there is none."""
        for name in self.files:
            if name.split(".")[0] == role:
                return name
        raise CatalogueError(f"{MANIFEST}: files: expected one of {role}, found none")

    def to_bytes(self) -> bytes:
        """Return the content of `manifest.json`."""
        return _seal({"format": FORMAT, **_plain(asdict(self))})


def is_sharded(folder: Path) -> bool:
    """Whether a folder is that of a sharded catalogue."""
    return (folder / SHARDS_MANIFEST).is_file()


def read_manifest(folder: Path) -> CatalogueManifest:
    """Read the manifest of the catalogue in `folder`; raises CatalogueError unless there is one of this format."""
    path = folder / MANIFEST
    try:
        content = read_regular(path, MANIFEST_BYTES)
        data = parse_json(content)
    except FileNotFoundError:
        other = "one in shards, for `clipshelf scale`" if is_sharded(folder) else "none"
        raise CatalogueError(f"{folder}: expected a catalogue folder with a {MANIFEST}, found {other}") from None
    except NotADirectoryError:
        raise CatalogueError(f"{folder}: expected the folder of a catalogue, found a file") from None
    except (OSError, ValueError) as error:
        raise CatalogueError(f"{path}: expected a catalogue manifest in JSON, found: {error}") from error
    if isinstance(data, dict) and "family" in data and "products" not in data:
        raise CatalogueError(f"{folder}: expected the folder of a catalogue, found that of a model (an artifact)")
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        found = data.get("format") if isinstance(data, dict) else type(data).__name__
        raise CatalogueError(f"{path}: format: expected {FORMAT}, found {found}")
    sealed = data.pop("sha256", None)
    if content != _seal(data):
        raise CatalogueError(f"{path}: expected a text with the sha256 that it names, {sealed}, found a changed one")
    return _checked(path, {**_LATER_FIELDS, **data})


def read_part(folder: Path, part: Part) -> CatalogueManifest:
    """Read the manifest of one of the generations in `folder`; raises CatalogueError where there is none."""
    if part not in get_args(Part):
        raise CatalogueError(f"part: expected one of {', '.join(get_args(Part))}, found {part!r:.80}")
    current = read_manifest(folder)
    manifest = {"current": current, "prepared": current.prepared, "previous": current.previous}[part]
    if manifest is None:
        origin = {"prepared": "clipshelf reembed prepares one", "previous": "a switch of models leaves one"}[part]
        raise CatalogueError(f"{folder}: expected a {part} generation, found none; {origin}")
    return manifest


def _plain(data: dict[str, Any]) -> dict[str, Any]:
    """The fields of a manifest, and of those within it, without what is left out where it has no value."""
    plain = {name: value for name, value in data.items() if name not in _OMITTED or value is not None}
    return plain | {name: _plain(plain[name]) for name in ("prepared", "previous") if name in plain}


def _seal(data: dict[str, Any]) -> bytes:
    """The text of a manifest: the fields of `data`, then their checksum.

    A path may hold bytes that are not UTF-8, which Python carries as lone surrogates.
    """
    plain = json.dumps(data, indent=2, ensure_ascii=False)
    sealed = {**data, "sha256": hashlib.sha256(plain.encode("utf-8", "surrogatepass")).hexdigest()}
    return json.dumps(sealed, indent=2, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n"


def _checked(path: Path, data: dict[str, Any]) -> CatalogueManifest:
    """The manifest of these fields; raises CatalogueError naming the field that does not hold what it should."""
    for name, types in _TYPES.items():
        if name not in data:
            raise CatalogueError(f"{path}: expected the field {name}, found none")
        value = data[name]
        if type(value) not in types or (isinstance(value, str) and "\0" in value):
            raise CatalogueError(f"{path}: {name}: expected {types[0].__name__}, found {value!r:.80}")
    sizes = {name: data[name] for name in ("products", "dim", "generation")}
    if not all(least <= size < MOST_COUNT for least, size in zip((0, 1, 1), sizes.values(), strict=True)):
        raise CatalogueError(f"{path}: expected numbers of products from 0, of the others from 1, found {sizes}")
    wrong = [kind for kind in data["columns"].values() if kind not in KINDS]
    wrong += [declaration for declaration in data["declarations"].values() if not isinstance(declaration, str)]
    if wrong:
        raise CatalogueError(f"{path}: columns: expected known kinds and declarations, found {wrong[0]!r:.80}")
    wrong = [name for name in data["word_columns"] if not isinstance(name, str)]
    if wrong:
        raise CatalogueError(f"{path}: word_columns: expected names of fields, found {wrong[0]!r:.80}")
    wrong = [name for name in data["files"] if not is_plain_name(name)]
    if wrong:
        raise CatalogueError(f"{path}: files: expected plain file names, found {wrong[0]!r:.80}")
    if len({name.split(".")[0] for name in data["files"]}) < len(data["files"]):
        raise CatalogueError(f"{path}: files: expected one file of each role, found two of one role")
    known = {f.name: data[f.name] for f in fields(CatalogueManifest)}
    known["files"] = {name: file_record(path, value) for name, value in data["files"].items()}
    known |= {"relevance_curve": _curve(path, data["relevance_curve"]), "falloff": _falloff(path, data)}
    known |= {part: _beside(path, part, data[part]) for part in ("prepared", "previous")}
    return CatalogueManifest(**known)


def _beside(path: Path, part: str, data: dict[str, Any] | None) -> CatalogueManifest | None:
    """The manifest of a generation beside the current one, which has none beside it."""
    if data is None:
        return None
    manifest = {**_LATER_FIELDS, **data}
    if manifest["prepared"] is not None or manifest["previous"] is not None or manifest["counterpart"] is None:
        raise CatalogueError(f"{path}: {part}: expected one generation with a counterpart, found another")
    return _checked(path, manifest)


def _falloff(path: Path, data: dict[str, Any]) -> float:
    try:
        return check_falloff(data["falloff"])
    except InputError as error:
        raise CatalogueError(f"{path}: {error}") from None


def _curve(path: Path, data: Any) -> RelevanceCurve | None:
    try:
        return None if data is None else RelevanceCurve.from_dict(data)
    except CatalogueError as error:
        raise CatalogueError(f"{path}: {error}") from None


def is_plain_name(name: str) -> bool:
    """Whether a name is that of a file of a generation, and of nothing outside the folder."""
    return name.isascii() and name.isprintable() and not {"/", "\\", ":"} & set(name) and name.strip(". ") == name != ""


def file_record(path: Path, value: Any) -> FileRecord:
    """The record of a file in the manifest at `path`; raises CatalogueError for a value that is none."""
    if isinstance(value, dict):
        size, digest = value.get("bytes"), value.get("sha256")
        if type(size) is int and 0 <= size < MOST_COUNT and isinstance(digest, str) and len(digest) == _SHA256_DIGITS:
            return FileRecord(size, digest)
    raise CatalogueError(f"{path}: files: expected bytes and sha256 of each, found {value!r:.80}")
