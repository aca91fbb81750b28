"""The file of a bundle: an uncompressed tar with a manifest of its files.

    clipshelf-bundle/
        install.py         installs the bundle on the device, see its head
        manifest.json      what `BundleManifest` says
        manifest.sig       the Ed25519 signature of manifest.json, where a key was given
        clipshelf          starts any command of clipshelf
        recommend          answers from the catalogue
        serve              answers over HTTP, where the extra `serve` was asked for
        requirements.txt   the wheels, pinned to their hashes
        wheels/            clipshelf, what its runtime needs, and pip
        catalogue/         the catalogue
        model/             its model, unless that is the embedded default
        pictures/          thumbnails of the products' pictures, where they were asked for

The same parts give the same bytes.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from clipshelf.bundle.signing import is_signed, sign
from clipshelf.errors import BundleError
from clipshelf.files import FileRecord, durable, open_regular
from clipshelf.json_parsing import parse_json

FORMAT = 1
TOP = "clipshelf-bundle"
MANIFEST, SIGNATURE = "manifest.json", "manifest.sig"
_MOST_BYTES = 1 << 26  # of a manifest
_CREATED = 315_532_800  # 1980-01-01, the earliest date that zip files know; a bundle has no date of its own
_EXECUTABLE = frozenset({"install.py", "clipshelf", "recommend", "serve"})


@dataclass(frozen=True)
class BundleManifest:
    """What is in a bundle.

    - `target`, `python`: the device that its wheels are for.
    - `version`: of clipshelf.
    - `products`, `fingerprint`: of the catalogue.
    - `files`: the record of every other file but the signature, by its path below the top folder.
    - `format`: version of this record.
    """

    target: str
    python: str
    version: str
    products: int
    fingerprint: str
    files: Mapping[str, FileRecord]
    format: int = FORMAT

    def to_bytes(self) -> bytes:
        """The content of `manifest.json`."""
        return (json.dumps(asdict(self), indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()

    @classmethod
    def from_bytes(cls, content: bytes) -> BundleManifest:
        """Read the content of `manifest.json`; raises BundleError for anything else."""
        try:
            data: dict[str, Any] = parse_json(content)
            if data.get("format") != FORMAT:
                raise BundleError(f"{MANIFEST}: expected format {FORMAT}, found {data.get('format')!r}")
            files = {name: FileRecord(**record) for name, record in data.pop("files").items()}
            return cls(**data, files=files)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise BundleError(f"{MANIFEST}: expected that of a bundle, found: {error}") from error


def files_below(folder: Path) -> dict[str, Path]:
    """The files below a folder by their paths relative to it, in order."""
    return {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}


def write_archive(out: Path, files: Mapping[str, Path], manifest: BundleManifest, key: Path | None = None) -> None:
    """Write a bundle in one step.

    - `files`: those that the manifest records, by their paths in the bundle.
    - `key`: a PEM file with the private key that signs the manifest; None signs nothing.
    """
    content = manifest.to_bytes()
    signature = None if key is None else sign(content, key)
    with durable(out) as file, tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
        _add_bytes(archive, MANIFEST, content)
        if signature is not None:
            _add_bytes(archive, SIGNATURE, signature)
        for name, path in files.items():
            with open_regular(path) as source:
                info = _info(name, manifest.files[name].bytes)
                archive.addfile(info, source)


def find_problems(bundle: Path, public_key: Path | None = None) -> list[str]:
    """Check every byte of a bundle and return its problems, one line each; an empty list means that it is intact.

    - `public_key`: a PEM file; the manifest must be signed by the owner of this key. None asks for no signature.

    Raises BundleError for a file that is no bundle.
    """
    content = signature = None
    found: dict[str, FileRecord] = {}
    with _opened(bundle) as members:
        for name, size, file in members:
            if name in found:
                return [f"{bundle}: {name}: expected one file of the name, found two"]
            if name == MANIFEST:
                content = _read_small(bundle, name, size, file)
            elif name == SIGNATURE:
                signature = _read_small(bundle, name, size, file)
            else:
                found[name] = FileRecord.of_stream(file)
    if content is None:
        raise BundleError(f"{bundle}: expected a bundle with {TOP}/{MANIFEST}, found none")
    problems = []
    if public_key is not None and (signature is None or not is_signed(content, signature, public_key)):
        state = "none" if signature is None else "that of another key or manifest"
        problems.append(f"{bundle}: expected a signature by the owner of {public_key}, found {state}")
    recorded = BundleManifest.from_bytes(content).files
    for name in sorted(recorded.keys() | found.keys()):
        expected, actual = recorded.get(name, "no such file"), found.get(name, "no such file")
        if expected != actual:
            problems.append(f"{bundle}: {name}: expected {expected}, found {actual}")
    return problems


def read_manifest(bundle: Path) -> BundleManifest:
    """Read the manifest of a bundle; raises BundleError for a file that is no bundle."""
    with _opened(bundle) as members:
        for name, size, file in members:
            if name == MANIFEST:
                return BundleManifest.from_bytes(_read_small(bundle, name, size, file))
    raise BundleError(f"{bundle}: expected a bundle with {TOP}/{MANIFEST}, found none")


def _read_small(bundle: Path, name: str, size: int, file: BinaryIO) -> bytes:
    if size > _MOST_BYTES:
        raise BundleError(f"{bundle}: {name}: expected at most {_MOST_BYTES} bytes, found {size}")
    return file.read()


@contextmanager
def _opened(bundle: Path) -> Iterator[Iterator[tuple[str, int, BinaryIO]]]:
    """Path below the top folder, size and content of each file of a bundle.

    The block raises BundleError for a file that is no bundle, or ends too early.
    """
    try:
        with open_regular(bundle) as file, tarfile.open(fileobj=file, mode="r:") as archive:
            yield _members(bundle, archive)
    except (tarfile.TarError, EOFError) as error:
        raise BundleError(f"{bundle}: expected a bundle, found: {error}") from error


def _members(bundle: Path, archive: tarfile.TarFile) -> Iterator[tuple[str, int, BinaryIO]]:
    for info in archive:
        # A sparse file may be read for ever: a few bytes say that it has a petabyte of zeros.
        content = archive.extractfile(info) if info.isreg() and not info.issparse() else None
        if content is None or not info.name.startswith(f"{TOP}/"):
            raise BundleError(f"{bundle}: expected files in {TOP}/ alone, found {info.name!a}")
        yield info.name.removeprefix(f"{TOP}/"), info.size, cast("BinaryIO", content)


def _add_bytes(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    import io

    archive.addfile(_info(name, len(content)), io.BytesIO(content))


def _info(name: str, size: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(f"{TOP}/{name}")
    info.size, info.mtime = size, _CREATED
    info.mode = 0o755 if name in _EXECUTABLE else 0o644
    return info
