"""Finds the files of pictures: relative to a root, as other systems spell paths, and never outside the root unasked.

A table from Windows has backslashes, one from macOS may have decomposed accents (NFD), and either may write another
case than the file has, for their file systems do not care. Such a path is taken for the one file that it can mean.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clipshelf.errors import ImageError
from clipshelf.types import PathLike

_URI = re.compile(r"data:|[a-z][a-z0-9+.-]+://|file:/", re.IGNORECASE)


class PictureFinder:
    """Finds pictures below a root; it lists each folder at most once.

    - `root`: the folder that relative paths start from.
    - `former_root`: the folder that was moved to `root`, if it was; an absolute path below it leads there too.

    `respelled` has what was found under another spelling: the file by the path that was asked for.
    """

    def __init__(self, root: Path, former_root: Path | None = None) -> None:
        self.root = root
        self._former_root = former_root if former_root != root else None
        self.respelled: dict[str, Path] = {}
        self._listings: dict[Path, dict[str, list[str]]] = {}

    def locate(self, source: Any) -> Any:
        """Return where a picture is.

        - `source`: a path, whose file is looked for; a URI and anything else is returned as it is. A dict with a
          `path` and no `bytes`, as in a Parquet file, stands for its path.

        A path that leads to no file is returned as it would be spelled.
        """
        if isinstance(source, Mapping) and source.get("bytes") is None and is_path(source.get("path")):
            source = source["path"]
        return self.find(source) if is_path(source) else source

    def find(self, path: PathLike) -> Path:
        """Return the file at `path`, or the one file that another spelling of it leads to, else `path` itself."""
        spelled = self.root / path
        former = self._former_root
        if former is not None and spelled.is_relative_to(former) and is_file(self.root / spelled.relative_to(former)):
            return self.root / spelled.relative_to(former)
        if is_file(spelled):
            return spelled
        found = self._search(os.fspath(path))
        if found is None:
            return spelled
        self.respelled[os.fspath(path)] = found
        return found

    def _search(self, path: str) -> Path | None:
        """The file that a path leads to when case, slashes and the form of Unicode do not count."""
        folder, parts = self.root, path.strip().replace("\\", "/").split("/")
        if parts[0] == "":
            folder = Path(self.root.absolute().anchor)
        for part in parts:
            if part in ("", "."):
                continue
            names = [part]
            if part != ".." and part not in self._listing(folder).get(_plain(part), []):
                names = self._listing(folder).get(_plain(part), [])
            if len(names) != 1:
                return None
            folder = folder / names[0]
        return folder if is_file(folder) else None

    def _listing(self, folder: Path) -> dict[str, list[str]]:
        """The names in a folder by their plain spelling."""
        if folder not in self._listings:
            listing: dict[str, list[str]] = {}
            try:
                for path in folder.iterdir():
                    listing.setdefault(_plain(path.name), []).append(path.name)
            except (OSError, ValueError):
                pass
            self._listings[folder] = listing
        return self._listings[folder]


def _plain(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", name).casefold()).strip()


def is_path(source: object) -> bool:
    """Whether a picture's source is the path of a file, and no URI, bytes or picture."""
    return isinstance(source, os.PathLike) or (isinstance(source, str) and not _URI.match(source))


def stored_path(path: PathLike, *, source_root: Path, root: Path) -> str:
    """Return the path of a picture that a catalogue stores.

    - `path`: as the source of the products has it, relative to `source_root`.
    - `root`: the folder that the catalogue's relative picture paths start from.

    It is `path` as it is where both roots are the same, else relative to `root` where it lies below, else absolute.
    """
    if root == source_root:
        return os.fspath(path)
    absolute = os.path.normpath((source_root / path).absolute())
    return os.path.relpath(absolute, root) if Path(absolute).is_relative_to(root) else absolute


def leaves_root(path: str, root: Path) -> bool:
    """Whether a path, as it is spelled, leads out of `root`."""
    # Nearly all paths are clear without the slower comparison.
    if not os.path.isabs(path) and ".." not in path:  # noqa: PTH117
        return False
    return not Path(os.path.normpath(root / path)).is_relative_to(root)


def is_file(path: Path) -> bool:
    """Whether a path is that of a file; one that no file can have is not."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def stored_picture(image: Any, *, source_root: Path, root: Path) -> str | None:
    """Return what a record in a catalogue has for a picture: its path, None for one that is no file.

    - `image`: the picture, as the source of the products has it; or an ImageError that says why it cannot be used.
    - `source_root`, `root`: see `stored_path`.

    Raises ImageError for a path that no text can hold, and the one that stands for a picture.
    """
    if isinstance(image, ImageError):
        raise image
    if isinstance(image, Mapping) and image.get("bytes") is None:
        image = image.get("path")
    if image is None or not is_path(image):
        return None
    path = stored_path(image, source_root=source_root, root=root)
    try:
        path.encode()
    except UnicodeEncodeError:
        raise ImageError(f"image: expected a path in Unicode text, found {path!a}") from None
    return path


def require_below(path: Path, root: Path) -> None:
    """Raise ImageError for a path that leads out of `root`, also through links, and for a root that is a whole disk."""
    try:
        real_path, real_root = Path(os.path.realpath(path)), Path(os.path.realpath(root))
    except (OSError, ValueError) as error:
        raise ImageError(f"{str(path)!a}: expected a path that a file can have, found: {error}") from error
    if not real_path.is_relative_to(real_root):
        raise ImageError(f"{path}: expected a picture below {root}, found one outside; --allow-outside allows it")
    if real_root == Path(real_root.anchor):
        raise ImageError(f"{path}: expected a root below {root}, found the whole disk; --allow-outside allows it")
