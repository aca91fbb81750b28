"""The pictures of a batch of products: where they are, and what the records of a catalogue have for them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clipshelf.catalogue.picture_paths import PictureFinder, leaves_root, stored_picture
from clipshelf.catalogue.product_sides import pictures_of
from clipshelf.errors import ImageError
from clipshelf.types import Product


@dataclass
class ProductPictures:
    """The n pictures of a product.

    - `stored`: n paths as a record has them, None for one that is no file.
    - `unread`: why a picture at a position cannot be used.
    - `tried`: the positions of the pictures that can be embedded, and `sources`: these.
    """

    stored: list[str | None] = field(default_factory=list)
    unread: dict[int, str] = field(default_factory=dict)
    tried: list[int] = field(default_factory=list)
    sources: list[Any] = field(default_factory=list)


class BatchPictures:
    """Finds the pictures of products.

    - `source_root`: the folder that relative paths of the batch start from.
    - `root`: the folder that those of the new records start from.
    """

    def __init__(self, source_root: Path, root: Path) -> None:
        self._source_root, self._root = source_root, root
        self._finder = PictureFinder(source_root)
        self._outside = 0

    def find(self, product: Product) -> ProductPictures:
        """Find the pictures of one product."""
        found = ProductPictures()
        for i, picture in enumerate(pictures_of(product)):
            try:
                path = stored_picture(picture, source_root=self._source_root, root=self._root)
            except ImageError as error:
                found.stored.append(None)
                found.unread[i] = str(error)
                continue
            found.stored.append(path)
            found.tried.append(i)
            found.sources.append(self._finder.locate(picture))
            self._outside += path is not None and leaves_root(path, self._root)
        return found

    def warnings(self) -> Iterator[str]:
        """What fails nothing: paths with another spelling than their files, and pictures outside the root."""
        respelled: Sequence[tuple[str, Path]] = list(self._finder.respelled.items())
        for path, found in respelled[:1]:
            more = f", and {len(respelled) - 1} more like it" if len(respelled) > 1 else ""
            yield f"pictures: expected the file {path}, found none, and took {found}{more}"
        if self._outside:
            yield (
                f"pictures: expected all below {self._root}, found {self._outside} elsewhere: a page shows these only "
                "with --allow-outside"
            )
