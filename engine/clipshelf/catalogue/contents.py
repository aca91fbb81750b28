"""Products in memory, and how they come from those that a catalogue has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from clipshelf.catalogue.columns import Column, columns_of
from clipshelf.catalogue.content_keys import SIZE, Keys, id_keys
from clipshelf.catalogue.disk.generation import Content
from clipshelf.catalogue.embedding import Memory, Progress, embed_products
from clipshelf.catalogue.products import Batch, Skipped, kept
from clipshelf.catalogue.statistics import Statistics
from clipshelf.model.engine import Engine
from clipshelf.types import FloatArray, Product, Rows


@dataclass(frozen=True)
class Draft:
    """A `Content` in memory; its columns are made when they are first asked for."""

    products: Sequence[Product]
    embeddings: FloatArray
    keys: Keys

    def __len__(self) -> int:
        return len(self.products)

    @property
    def dim(self) -> int:
        """D."""
        return int(self.embeddings.shape[1]) // 2

    @cached_property
    def ids(self) -> list[str]:
        """The products' ids."""
        return [product["id"] for product in self.products]

    @cached_property
    def statistics(self) -> Statistics:
        """Means and spreads of the embeddings."""
        return Statistics.of(self.embeddings)

    @property
    def kinds(self) -> Mapping[str, Any]:
        """The columns' kinds by name."""
        return {name: column.kind for name, column in self._columns.items()}

    def column(self, name: str) -> Column:
        """One of the columns that are not mixed."""
        return self._columns[name]

    @cached_property
    def _columns(self) -> dict[str, Column]:
        return columns_of(self.products)


def bare(matrix: FloatArray) -> Draft:
    """Products of nothing but embeddings (N, 2D), with their positions as ids."""
    keys = np.zeros((len(matrix), 3, SIZE), np.uint8)
    keys[:, 0] = id_keys(map(str, range(len(matrix))))
    return Draft([{"id": str(row)} for row in range(len(matrix))], matrix, keys)


def appended(old: Content, new: Draft) -> Draft:
    """`old` and the products of `new` behind it."""
    return Draft(
        [*old.products, *new.products],
        np.concatenate((old.embeddings, new.embeddings)) if len(new) else old.embeddings,
        np.concatenate((old.keys, new.keys)),
    )


def replaced(old: Content, rows: Rows, new: Draft) -> Draft:
    """`old` with its rows (n,) replaced by the n products of `new`; the same matrix where no embedding changes."""
    products, keys, matrix = list(old.products), old.keys.copy(), old.embeddings
    for row, product in zip(rows.tolist(), new.products, strict=True):
        products[row] = product
    keys[rows] = new.keys
    if not np.array_equal(matrix[rows], new.embeddings):
        matrix = np.array(matrix)
        matrix[rows] = new.embeddings
    return Draft(products, matrix, keys)


def without(old: Content, rows: Rows) -> Draft:
    """`old` without its rows (n,)."""
    stay = np.ones(len(old), bool)
    stay[rows] = False
    products = [product for product, stays in zip(old.products, stay.tolist(), strict=True) if stays]
    return Draft(products, old.embeddings[stay], old.keys[stay])


@dataclass(frozen=True)
class Drafted:
    """What became of a batch: a draft of n products, their positions (n,) in the batch, and the others with reasons."""

    draft: Draft
    positions: Rows
    skipped: tuple[Skipped, ...]


def drafted(
    engine: Engine, batch: Batch, root: Path, memory: Memory, *, on_error: str, progress: Progress | None = None
) -> Drafted:
    """Embed a batch, all but what `memory` knows, into records whose relative pictures start from `root`.

    A product that cannot be embedded raises InputError, or with `on_error="skip"` is left out.
    """
    products = batch.products
    done = embed_products(engine, products, batch.root, memory, on_error=on_error, progress=progress)
    good = np.array([row for row in range(len(products)) if row not in done.bad], np.int64)
    records = [kept(products[row], root=root, source=batch.root) for row in good.tolist()]
    # A copy of the matrix only where it needs one: it may take a large part of the memory.
    matrix, keys = (done.matrix[good], done.keys[good]) if done.bad else (done.matrix, done.keys)
    bad = [Skipped(products[row]["id"], reason) for row, reason in sorted(done.bad.items())]
    return Drafted(Draft(records, matrix, keys), good, (*batch.skipped, *bad))
