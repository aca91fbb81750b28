"""Where the default model, the sample shelf, the query photos and the sources of the C++ host lie.

In an installed wheel they are package data; in a checkout they are folders of the repository. Each function raises
ClipshelfError where its folder is in neither.
"""

from __future__ import annotations

from pathlib import Path

from clipshelf.errors import ClipshelfError

_PACKAGE = Path(__file__).resolve().parent
_CHECKOUT = _PACKAGE.parent.parent
_MODEL = (_PACKAGE / "data/model", _CHECKOUT / "models/default")
_SHELF = (_PACKAGE / "data/shelf", _CHECKOUT / "examples/shelf")
_QUERIES = (_PACKAGE / "data/queries", _CHECKOUT / "examples/queries")
_HOST = (_PACKAGE / "data/host", _CHECKOUT / "host")


def model_path() -> Path:
    """Folder of the default model, an artifact."""
    return _existing(_MODEL)


def is_bundled_model(path: Path) -> bool:
    """Whether `path` is the folder of the default model."""
    return path.resolve() in _MODEL


def shelf_path() -> Path:
    """Folder of the sample shelf: products.csv, four.csv and pictures/."""
    return _existing(_SHELF)


def queries_path() -> Path:
    """Folder of the sample query photos."""
    return _existing(_QUERIES)


def host_path() -> Path:
    """Folder of the C++ host: its sources, headers, example and guide."""
    return _existing(_HOST)


def _existing(candidates: tuple[Path, Path]) -> Path:
    for folder in candidates:
        if folder.is_dir():
            return folder
    raise ClipshelfError(
        f"expected {candidates[0]} in an installed package or {candidates[1]} in a checkout, found neither"
    )
