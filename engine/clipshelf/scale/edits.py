"""Adds, changes and removes products of a sharded catalogue. Only the shards that have them are written again.

An edit makes a new folder for each of these shards, of links to the files of the old one, and changes it there. The
other shards stay as they are. One new manifest publishes all of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from clipshelf.catalogue.catalogue import Catalogue
from clipshelf.catalogue.changes import DEFAULT_SHRINK, NO_LOSSES, Losses, check_allow_shrink
from clipshelf.catalogue.edit_ids import known_ids, select_known, select_new
from clipshelf.catalogue.edits import Edit, Editor
from clipshelf.catalogue.indexing import change
from clipshelf.catalogue.products import ProductBatch, read_products
from clipshelf.catalogue.reading.readers import DEFAULT_FIELDS, ProductFields
from clipshelf.errors import InputError
from clipshelf.failures import OnError
from clipshelf.files import locked
from clipshelf.model.engine import Engine
from clipshelf.scale.catalogue import ShardedCatalogue, shards_of
from clipshelf.scale.manifest import ShardedManifest
from clipshelf.scale.writing import WrittenShard, clone_shard, publish, shard_folder
from clipshelf.types import PathLike, Product, Rows


def add_products(
    path: PathLike,
    engine: Engine,
    products: PathLike | Iterable[Product],
    *,
    fields: ProductFields = DEFAULT_FIELDS,
    on_error: OnError = "raise",
    keep_text: bool = False,
    timeout: float = 0.0,
) -> ShardedCatalogue:
    """Add new products to a sharded catalogue; see `Catalogue.add`, and `Catalogue.save` for `timeout`."""
    return _Edit("add", Path(path), engine, fields, on_error, keep_text).apply(products, timeout)


def update_products(
    path: PathLike,
    engine: Engine,
    products: PathLike | Iterable[Product],
    *,
    fields: ProductFields = DEFAULT_FIELDS,
    on_error: OnError = "raise",
    keep_text: bool = False,
    allow_shrink: float = DEFAULT_SHRINK,
    timeout: float = 0.0,
) -> ShardedCatalogue:
    """Change fields of products of a sharded catalogue; see `Catalogue.update`, and `Catalogue.save`."""
    check_allow_shrink(allow_shrink)
    return _Edit("update", Path(path), engine, fields, on_error, keep_text, allow_shrink).apply(products, timeout)


def remove_products(
    path: PathLike, ids: Sequence[str], *, on_error: OnError = "raise", timeout: float = 0.0
) -> ShardedCatalogue:
    """Remove products of a sharded catalogue by their ids; see `Catalogue.remove`, and `Catalogue.save`."""
    with locked(folder := Path(path), timeout=timeout):
        catalogue = ShardedCatalogue(folder)
        known = known_ids(Catalogue.listed_ids(ids), _ShardedIds(catalogue), on_error)
        owners = shards_of(known, catalogue.shards)
        edited = {
            shard: _removed(catalogue, shard, [known[i] for i in np.flatnonzero(owners == shard).tolist()])
            for shard in np.unique(owners).tolist()
        }
        _publish(catalogue, edited, {})
    return ShardedCatalogue(folder)


@dataclass(frozen=True)
class _Edit:
    """One addition or update, of products that are read once and handed to their shards."""

    _kind: Literal["add", "update"]
    _folder: Path
    _engine: Engine
    _fields: ProductFields
    _on_error: OnError
    _keep_text: bool
    _allow_shrink: float = DEFAULT_SHRINK

    def apply(self, products: PathLike | Iterable[Product], timeout: float) -> ShardedCatalogue:
        """Edit the catalogue and publish it."""
        with locked(self._folder, timeout=timeout):
            catalogue = ShardedCatalogue(self._folder)
            catalogue.require(self._engine)
            batch = self._read(products, catalogue.manifest)
            # Before any shard is written, and for all of them at once, so that errors are those of one catalogue.
            select_ids = select_new if self._kind == "add" else select_known
            batch = select_ids(batch, _ShardedIds(catalogue), self._on_error)
            owners = shards_of([product["id"] for product in batch.products], catalogue.shards)
            edited, losses = dict[int, WrittenShard](), NO_LOSSES
            for shard in np.unique(owners).tolist():
                edited[shard], lost = self._edited(catalogue, shard, _of_shard(batch, shard, catalogue.shards))
                losses += lost
            if losses != NO_LOSSES:
                old = [catalogue.shard(shard).contents for shard in range(catalogue.shards)]
                losses.check(old, self._allow_shrink, self._folder)
            _publish(catalogue, edited, batch.declarations)
        return ShardedCatalogue(self._folder)

    def _read(self, products: PathLike | Iterable[Product], manifest: ShardedManifest) -> ProductBatch:
        if self._fields.words:
            raise InputError("words: expected none, since an edit keeps the index of words that the catalogue has")
        return read_products(
            products,
            fields=self._fields,
            on_error=self._on_error,
            ids_required=True,
            partial=self._kind == "update",
            declarations=manifest.declarations,
        )

    def _edited(self, catalogue: ShardedCatalogue, shard: int, batch: ProductBatch) -> tuple[WrittenShard, Losses]:
        """A shard after the edit, in a new folder, and what went from it without having been named."""
        edits: list[Edit] = []
        fields = ProductFields(falloff=self._fields.falloff)

        def changed(old: Catalogue) -> Catalogue:
            editor = Editor(old, old.root, self._engine, fields, self._on_error, self._keep_text, None, None)
            edit = editor.add(batch) if self._kind == "add" else editor.update(batch)
            edits.append(edit)
            return old.edited(edit)

        _, folder = _change_shard(catalogue, shard, changed)
        added = catalogue.manifest.next_ordinal + np.array(edits[-1].positions, np.int64)
        return WrittenShard(folder, np.concatenate((catalogue.ordinals(shard), added))), edits[-1].losses


@dataclass(frozen=True)
class _ShardedIds:
    """Finds ids in all shards of a catalogue."""

    _catalogue: ShardedCatalogue

    def __len__(self) -> int:
        return len(self._catalogue)

    def find(self, ids: Iterable[str]) -> Rows:
        """Return (n,) int64, the row of each id in its shard, -1 for one that is not there."""
        listed = list(ids)
        owners = shards_of(listed, self._catalogue.shards)
        rows = np.full(len(listed), -1, np.int64)
        for shard in np.unique(owners).tolist():
            positions = np.flatnonzero(owners == shard)
            rows[positions] = self._catalogue.shard(shard).find([listed[i] for i in positions.tolist()])
        return rows


def _of_shard(batch: ProductBatch, shard: int, shards: int) -> ProductBatch:
    """The products and repeats of one shard, with the declarations of the columns that they have."""
    owners = shards_of([product["id"] for product in batch.products], shards)
    repeats = [repeat for repeat in batch.repeats if shards_of([repeat.product["id"]], shards)[0] == shard]
    part = replace(batch.take(np.flatnonzero(owners == shard).tolist()), repeats=repeats)
    whole = part.with_repeats()
    names = {name for listed in (*whole.fields, *whole.products) for name in listed}
    declared = {name: value for name, value in batch.declarations.items() if value and name in names}
    return replace(part, declarations=declared)


def _removed(catalogue: ShardedCatalogue, shard: int, ids: Sequence[str]) -> WrittenShard:
    """A shard without some of its products, in a new folder."""
    rows = catalogue.shard(shard).find(ids)
    _, folder = _change_shard(catalogue, shard, lambda loaded: loaded.remove(ids))
    return WrittenShard(folder, np.delete(catalogue.ordinals(shard), rows))


def _change_shard(
    catalogue: ShardedCatalogue, shard: int, edit: Callable[[Catalogue], Catalogue]
) -> tuple[Catalogue, Path]:
    """Edit a shard in the folder of the next generation."""
    folder = catalogue.folder / shard_folder(shard, catalogue.manifest.generation + 1)
    clone_shard(catalogue.folder / catalogue.manifest.shards[shard].folder, folder)
    return change(folder, edit, allow_shrink=1.0), folder


def _publish(catalogue: ShardedCatalogue, edited: dict[int, WrittenShard], declarations: Any) -> None:
    """Publish edited shards beside the others.

    - `declarations`: of the columns of an edit by name, "" for one that no value decides.
    """
    shards = [
        edited.get(shard) or WrittenShard(catalogue.folder / record.folder, catalogue.ordinals(shard))
        for shard, record in enumerate(catalogue.manifest.shards)
    ]
    publish(
        catalogue.folder,
        catalogue.manifest.generation + 1,
        shards,
        {
            **dict.fromkeys([*catalogue.manifest.kinds, *declarations], ""),
            **catalogue.manifest.declarations,
            **{name: declaration for name, declaration in declarations.items() if declaration},
        },
        relevance_curve=catalogue.manifest.relevance_curve,
    )
