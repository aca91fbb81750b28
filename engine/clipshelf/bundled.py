"""Where the embedded model, the sample shelf, the query photos and the sources of the C++ host lie.

In an installed wheel they are package data; in a checkout they are the folders of the repository.
"""

from __future__ import annotations

from pathlib import Path

from clipshelf.errors import ClipshelfError

_PACKAGE = Path(__file__).resolve().parent
_CHECKOUT = _PACKAGE.parent.parent
_MODEL = (_PACKAGE / "data/model", _CHECKOUT / "models/default")
_SHELF = (_PACKAGE / "data/shelf", _CHECKOUT / "examples/shelf")
_HOST = (_PACKAGE / "data/host", _CHECKOUT / "host")
_QUERIES = (_PACKAGE / "data/queries", _CHECKOUT / "examples/queries")


def model_path() -> Path:
    """Folder of the embedded artifact."""
    return _find(_MODEL)


def is_model(path: Path) -> bool:
    """Whether `path` is the folder of the embedded artifact."""
    return path.resolve() in _MODEL


def shelf_path() -> Path:
    """Folder of the sample shelf: products.csv, four.csv and pictures/."""
    return _find(_SHELF)


def queries_path() -> Path:
    """Folder of the sample query photos."""
    return _find(_QUERIES)


def host_path() -> Path:
    """Folder of the C++ host: its sources, headers, example and guide."""
    return _find(_HOST)


def _find(places: tuple[Path, Path]) -> Path:
    for folder in places:
        if folder.is_dir():
            return folder
    raise ClipshelfError(f"expected {places[0]} in an installed package or {places[1]} in a checkout, found neither")
