"""Small copies of the products' pictures, under the paths that the catalogue has."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from clipshelf.catalogue.catalogue import Catalogue
from clipshelf.catalogue.picture_paths import is_path, leaves_root
from clipshelf.catalogue.product_sides import pictures_of
from clipshelf.errors import ImageError, InputError
from clipshelf.model.thumbnails import thumbnail

LONGEST_EDGE = 4096


def write_thumbnails(
    catalogue: Catalogue, folder: Path, edge: int, *, on_warning: Callable[[str], object] | None = None
) -> int:
    """Write a JPEG of each picture below `folder`, at its path relative to the catalogue's root.

    - `edge`: the longest edge in pixels, 1 to LONGEST_EDGE; smaller pictures keep their size.
    - `on_warning`: receives how many pictures are left out: outside of the root, missing or unreadable.

    Returns how many were written. Raises InputError for another edge.
    """
    if not 1 <= edge <= LONGEST_EDGE:
        raise InputError(f"thumbnails: expected an edge of 1 to {LONGEST_EDGE} pixels, found {edge}")
    folder.mkdir()
    written: set[Path] = set()
    left_out = 0
    pictures = ((product, i, image) for product in catalogue.products for i, image in enumerate(pictures_of(product)))
    for product, index, image in pictures:
        if not image or not is_path(image):
            continue
        target = folder / os.path.normpath(image)
        if target in written:
            continue
        if Path(image).is_absolute() or leaves_root(image, folder):
            left_out += 1
            continue
        try:
            path = catalogue.picture(product, index)
            small = None if path is None else thumbnail(path, edge)
        except ImageError:
            small = None
        if small is None:
            left_out += 1
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(small)
        written.add(target)
    if left_out and on_warning is not None:
        on_warning(f"{left_out} pictures are not in the bundle: outside the catalogue's root, missing or unreadable")
    return len(written)
