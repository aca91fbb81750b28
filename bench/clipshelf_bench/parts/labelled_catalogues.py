"""Catalogues whose products people sorted into categories, which the embedded model never saw.

Tux Paint's stamps lie in folders (fruit, hats, birds, ...), and the sample shelf's products have a category.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from clipshelf import Catalogue, Engine
from clipshelf.bundled import shelf_path

from clipshelf_bench.arrays import FloatArray
from clipshelf_bench.datasets.stamps import STAMPS, read_stamps

# The least number of products that makes a category.
_MIN_PRODUCTS = 6
# Folders that say how a stamp is drawn, not what it shows.
_STYLE_FOLDERS = ("cartoon", "plastic")
_CATEGORY_DEPTH = 2

Item = TypeVar("Item", bound=Hashable)


@dataclass(frozen=True)
class LabelledCatalogue:
    """A catalogue and the categories of its products.

    - `name`: in tables.
    - `catalogue`: the products.
    - `category_by_id`: category of every product, "" for none.
    """

    name: str
    catalogue: Catalogue
    category_by_id: dict[str, str]

    @property
    def categories(self) -> list[str]:
        """All categories, sorted."""
        return sorted(set(self.category_by_id.values()) - {""})

    @property
    def products(self) -> list[dict[str, Any]]:
        """The products that have a category, in the order of the catalogue."""
        return [product for product in self.catalogue.products if self.category_by_id[product["id"]]]

    def ids(self, category: str) -> list[str]:
        """Ids of the products of a category, in the order of the catalogue."""
        return [id_ for id_ in self.catalogue.ids if self.category_by_id[id_] == category]


def label_catalogues(engine: Engine, root: Path) -> list[LabelledCatalogue]:
    """The stamps and the sample shelf, embedded; one without at least two categories is missing.

    - `engine`: the model.
    - `root`: the unpacked stamps package.
    """
    shelf = Catalogue.build(engine, shelf_path() / "products.csv")
    categories = {product["id"]: str(product.get("category", "")) for product in shelf.products}
    labelled = [_label_stamps(engine, root), LabelledCatalogue("shelf", shelf, _drop_small(categories))]
    return [catalogue for catalogue in labelled if len(catalogue.categories) > 1]


def _label_stamps(engine: Engine, root: Path) -> LabelledCatalogue:
    products, categories = [], {}
    for stamp in read_stamps(root):
        path = stamp.path.relative_to(root / STAMPS)
        id_ = path.with_suffix("").as_posix()
        products.append({"id": id_, "text": stamp.sentence, "image": str(stamp.path)})
        folders = [folder for folder in path.parent.parts if folder not in _STYLE_FOLDERS]
        categories[id_] = "/".join(folders[:_CATEGORY_DEPTH])
    return LabelledCatalogue("stamps", Catalogue.build(engine, products), _drop_small(categories))


def _drop_small(categories: dict[str, str]) -> dict[str, str]:
    """The categories with at least `_MIN_PRODUCTS` products; "" in place of the others."""
    counts = Counter(categories.values())
    return {id_: category if counts[category] >= _MIN_PRODUCTS else "" for id_, category in categories.items()}


class CachingEngine(Engine):
    """An engine that embeds each text and each picture once; for inputs that are known to be sound.

    Options of a call (`on_error` and the like) are ignored: an item that cannot be embedded always raises.
    """

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine.artifact, threads=engine.threads)
        self._text_cache: dict[str, FloatArray] = {}
        self._image_cache: dict[Any, FloatArray] = {}

    def embed_texts(self, texts: Iterable[str], **_: Any) -> FloatArray:
        """Embeddings (n, D) of n strings."""
        return self._cached(self._text_cache, super().embed_texts, list(texts))

    def embed_images(self, images: Iterable[Any], **_: Any) -> FloatArray:
        """Embeddings (n, D) of n paths of pictures."""
        return self._cached(self._image_cache, super().embed_images, list(images))

    def _cached(
        self, cache: dict[Item, FloatArray], embed: Callable[[Sequence[Item]], FloatArray], items: Sequence[Item]
    ) -> FloatArray:
        missing = [item for item in dict.fromkeys(items) if item not in cache]
        cache.update(zip(missing, embed(missing), strict=True))
        return np.array([cache[item] for item in items], np.float32).reshape(-1, self.dim)
