"""Which products of an edit a catalogue has: what is added must be new, what is changed or removed must be there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

import numpy as np

from clipshelf.catalogue.messages import shorten_list, unknown_ids_error
from clipshelf.catalogue.products import ProductBatch
from clipshelf.errors import InputError, UnknownIdError
from clipshelf.failures import OnError, check_on_error, handle
from clipshelf.types import Mask, Rows


class IdLookup(Protocol):
    """Finds the ids of N products."""

    def __len__(self) -> int: ...

    def find(self, ids: Iterable[str]) -> Rows:
        """Return (n,) int64, -1 for an id that is not there."""


def select_new(batch: ProductBatch, catalogue: IdLookup, on_error: OnError) -> ProductBatch:
    """The products and repeats whose ids a catalogue does not have; the others are treated as `on_error` says."""
    known = _are_known(batch, catalogue)
    if known.any() and on_error == "raise":
        repeated = shorten_list(repr(batch.products[i]["id"]) for i in np.flatnonzero(known))
        error = InputError(f"id: expected ids that the catalogue doesn't have yet, found {repeated}")
        handle("raise", 0, repeated, error)
    problem = "expected an id that the catalogue doesn't have yet, found one that it has"
    return select(batch, ~known, problem, on_error)


def select_known(batch: ProductBatch, catalogue: IdLookup, on_error: OnError) -> ProductBatch:
    """The products and repeats whose ids a catalogue has; the others are treated as `on_error` says."""
    if on_error == "raise":
        _require([product["id"] for product in batch.products], catalogue)
    problem = f"expected an id of the catalogue's {len(catalogue)} products"
    return select(batch, _are_known(batch, catalogue), problem, on_error)


def known_ids(ids: Sequence[str], catalogue: IdLookup, on_error: OnError) -> list[str]:
    """Those of n ids that a catalogue has; the others are treated as `on_error` says."""
    check_on_error(on_error)
    if on_error == "raise":
        _require(ids, catalogue)
    is_known = catalogue.find(ids) >= 0
    for position in np.flatnonzero(~is_known).tolist():
        error = UnknownIdError(f"id: expected an id of the catalogue's {len(catalogue)} products, found another")
        handle(on_error, position, ids[position], error)
    return [ids[position] for position in np.flatnonzero(is_known).tolist()]


def select(batch: ProductBatch, good: Mask, problem: str, on_error: OnError) -> ProductBatch:
    """The products and repeats for which `good` (n,) is true; the others are treated as `on_error` says."""
    judged = batch.with_repeats()
    for i in np.flatnonzero(~good).tolist():
        id_ = judged.products[i]["id"]
        handle(on_error, judged.positions[i], id_, InputError(f"product {id_!r}: {problem}"))
    return batch if good.all() else batch.select(good)


def _are_known(batch: ProductBatch, catalogue: IdLookup) -> Mask:
    """(n,) bool: whether the catalogue has the id of each product and repeat."""
    return catalogue.find(product["id"] for product in batch.with_repeats().products) >= 0


def _require(ids: Sequence[str], catalogue: IdLookup) -> None:
    """Raise UnknownIdError that names all ids that are not there, and says how to go on without them."""
    missing = np.flatnonzero(catalogue.find(ids) < 0).tolist()
    if missing:
        handle("raise", 0, "", unknown_ids_error((ids[i] for i in missing), len(catalogue)))
