"""Makes a bundle from a catalogue: copies it with its model, collects wheels, and writes one file."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from clipshelf import __version__
from clipshelf.bundle.archive import BundleManifest, files_below, write_archive
from clipshelf.bundle.target import Target
from clipshelf.bundle.thumbnails import write_thumbnails
from clipshelf.bundle.wheels import collect_wheels, requirements
from clipshelf.catalogue.catalogue import Catalogue
from clipshelf.errors import FingerprintMismatch, InputError
from clipshelf.files import FileRecord
from clipshelf.model.artifact import Artifact
from clipshelf.types import PathLike

# $here is the folder of the release. The installer leaves a link to the Python that it ran on.
_START = """\
#!/bin/sh
here=$(dirname "$(readlink -f "$0")")
"""
_CLIPSHELF = _START + 'PYTHONPATH="$here/site" exec "${CLIPSHELF_PYTHON:-$here/python}" -s -S -m clipshelf "$@"\n'
_RECOMMEND = _START + 'exec "$here/clipshelf" recommend --catalogue "$here/catalogue" "$@"\n'
_SERVE = _START + 'exec "$here/clipshelf" serve "$here/catalogue" "$@"\n'


def write_bundle(
    catalogue: PathLike,
    out: PathLike,
    target: Target,
    *,
    artifact: PathLike | None = None,
    thumbnails: int | None = None,
    wheel: PathLike | None = None,
    wheels: PathLike | None = None,
    extras: Sequence[str] = (),
    key: PathLike | None = None,
    on_warning: Callable[[str], object] | None = None,
) -> BundleManifest:
    """Write a bundle to the file `out`, in one step.

    - `catalogue`: folder of a saved catalogue.
    - `target`: the device.
    - `artifact`: folder of the model that embedded the catalogue; None for the one that the catalogue names.
    - `thumbnails`: the longest edge, in pixels, of the pictures to carry; None carries none.
    - `wheel`: clipshelf's own wheel for the device; see `collect_wheels` for None.
    - `wheels`: a folder with all wheels, which are not downloaded then; None downloads them.
    - `extras`: of clipshelf, as in "serve".
    - `key`: a PEM file with an Ed25519 private key, which signs the bundle.
    - `on_warning`: receives what the bundle lacks.

    Returns its manifest. Raises CatalogueError, ArtifactError and FingerprintMismatch for what cannot be packed,
    InputError for bad arguments, and ClipshelfError where a package has no wheel for the device.
    """
    opened = Catalogue.load(catalogue)
    model = _model(opened, artifact)
    with tempfile.TemporaryDirectory(prefix="clipshelf-bundle-") as name:
        folder = Path(name)
        _collect(folder / "wheels", target, wheel, wheels, extras, on_warning)
        (folder / "requirements.txt").write_text(requirements(folder / "wheels"))
        _write_scripts(folder, extras)
        if model is not None:
            _copy_model(model, folder / "model")
        if thumbnails is not None:
            write_thumbnails(opened, folder / "pictures", thumbnails, on_warning=on_warning)
        packed = Catalogue(
            opened.contents,
            opened.fingerprint,
            root=folder / "pictures",
            model=None if model is None else str(folder / "model"),
        )
        packed.save(folder / "catalogue")
        files = files_below(folder)
        files.pop("catalogue/.lock", None)
        records = {path: FileRecord.of(file) for path, file in files.items()}
        manifest = BundleManifest(target.name, target.python, __version__, len(opened), opened.fingerprint, records)
        write_archive(Path(out), files, manifest, None if key is None else Path(key))
    return manifest


def _model(catalogue: Catalogue, artifact: PathLike | None) -> Artifact | None:
    """The model to carry, None for the embedded default, which lies in clipshelf's wheel."""
    path = catalogue.model_path() if artifact is None else artifact
    if path is None:
        return None
    model = Artifact.open(path)
    if model.manifest.fingerprint != catalogue.fingerprint:
        raise FingerprintMismatch(
            f"{path}: expected the model that embedded the catalogue, fingerprint {catalogue.fingerprint}, "
            f"found {model.manifest.fingerprint}"
        )
    model.verify()
    return model


def _collect(  # noqa: PLR0917  (the arguments of `write_bundle` about wheels)
    folder: Path,
    target: Target,
    wheel: PathLike | None,
    wheels: PathLike | None,
    extras: Sequence[str],
    on_warning: Callable[[str], object] | None,
) -> None:
    folder.mkdir()
    if wheels is None:
        own = None if wheel is None else Path(wheel)
        collect_wheels(folder, target, wheel=own, extras=extras, on_warning=on_warning)
        return
    if wheel is not None:
        raise InputError("wheel: expected none beside a folder of all wheels, found one")
    found = sorted(Path(wheels).glob("*.whl"))
    if not found:
        raise InputError(f"{wheels}: expected a folder of wheels, found none there")
    for path in found:
        shutil.copyfile(path, folder / path.name)


def _write_scripts(folder: Path, extras: Sequence[str]) -> None:
    shutil.copyfile(Path(__file__).with_name("install.py"), folder / "install.py")
    (folder / "clipshelf").write_text(_CLIPSHELF)
    (folder / "recommend").write_text(_RECOMMEND)
    if "serve" in extras:
        (folder / "serve").write_text(_SERVE)


def _copy_model(model: Artifact, folder: Path) -> None:
    folder.mkdir()
    for name in ("manifest.json", *model.manifest.files):
        shutil.copyfile(model.path / name, folder / name)
