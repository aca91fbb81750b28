"""Where the model and the pictures of a saved catalogue are, also after it was moved.

The manifest names both twice: as absolute paths of the time when it was saved, and relative to the catalogue's folder.
In a folder that was not moved both are the same. Otherwise the relative one goes first, so that a tree that was copied
uses its own model and pictures; then the absolute one, for a folder that was moved alone; then the places where a
catalogue usually has them, for older catalogues without relative paths.

A model is taken only if it has the fingerprint that embedded the catalogue. That tells models apart, and vouches for
nothing: see "Catalogues of strangers" in docs/catalogue-folder.md.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from clipshelf.catalogue.disk.generation import Generation
from clipshelf.catalogue.disk.manifest import CatalogueManifest
from clipshelf.catalogue.picture_paths import PictureFinder, is_file, is_path
from clipshelf.catalogue.product_sides import pictures_of
from clipshelf.errors import ArtifactError
from clipshelf.model.artifact import Artifact

# Records whose pictures are looked for.
_RECORDS_TRIED = 100


def relative_to(path: str | None, folder: Path) -> str | None:
    """Return an absolute path as seen from `folder`, None for None and where there is no such path."""
    try:
        return None if path is None else os.path.relpath(path, folder.resolve()).replace(os.sep, "/")
    except ValueError:  # another drive
        return None


def find_model(folder: Path, manifest: CatalogueManifest) -> str | None:
    """Return the path of the model that embedded the catalogue in `folder`.

    It is the one that the manifest names if no other is found, and None for the embedded default.
    """
    if manifest.model is None or not _is_moved(folder, manifest.model, manifest.relative_model):
        return manifest.model
    for path in _candidates(folder, manifest.model, manifest.relative_model):
        try:
            if Artifact.open(path).manifest.fingerprint == manifest.fingerprint:
                return str(path)
        except (ArtifactError, OSError, ValueError):
            continue
    return manifest.model


def find_root(generation: Generation) -> Path:
    """Return the folder that relative picture paths of a catalogue start from.

    It is the one that the manifest names if no other is found that has one of the first pictures.
    """
    folder, manifest = generation.folder, generation.manifest
    recorded = Path(manifest.root)
    if not _is_moved(folder, manifest.root, manifest.relative_root):
        return recorded
    images = _relative_pictures(generation)
    candidates = [*_candidates(folder, manifest.root, manifest.relative_root), folder.parent, folder]
    if not images:
        return next((path for path in candidates[:2] if path.is_dir()), recorded)
    finders = map(PictureFinder, candidates)
    return next((finder.root for finder in finders if any(is_file(finder.find(image)) for image in images)), recorded)


def _relative_pictures(generation: Generation) -> list[str]:
    """The relative paths of the first pictures."""
    rows = np.flatnonzero(generation.keys[:, 1].any(axis=1))[:_RECORDS_TRIED]
    images = [image for record in generation.records(rows) for image in pictures_of(record)]
    return [image for image in images if image and is_path(image) and not Path(image).is_absolute()]


def _is_moved(folder: Path, recorded: str, relative: str | None) -> bool:
    if relative is None:
        return not Path(recorded).is_dir()
    return os.path.normpath(folder / relative) != os.path.normpath(recorded)


def _candidates(folder: Path, recorded: str, relative: str | None) -> Iterator[Path]:
    """The paths where a folder may be that was at `recorded` when the catalogue was saved."""
    if relative is not None:
        yield Path(os.path.normpath(folder / relative))
    yield Path(recorded)
    name = Path(recorded).name
    if name:
        yield folder.parent / name
        yield folder / name
