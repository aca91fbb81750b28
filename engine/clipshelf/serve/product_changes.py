"""Changes of the catalogue: one transaction at a time, on disk before it is answered, and then taken up by readers."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from clipshelf.catalogue.catalogue import Catalogue
from clipshelf.catalogue.ids import product_id
from clipshelf.catalogue.indexing import change
from clipshelf.errors import ArtifactError, CatalogueError, InputError, UnknownIdError
from clipshelf.failures import Failure, OnError
from clipshelf.files import durable
from clipshelf.model.engine import Engine
from clipshelf.model.image_formats import recognise
from clipshelf.serve.giving_up import Pending
from clipshelf.serve.problems import ProblemError
from clipshelf.serve.schemas import ChangeAnswer, FailedProduct
from clipshelf.serve.shelf import Shelf, ShelfKeeper
from clipshelf.types import Product, Progress

_log = logging.getLogger(__name__)

# Pictures that came over HTTP lie here, below the root of the catalogue's pictures, by their content.
UPLOADS = "uploads"
_LOCK_SECONDS = 5.0  # that a change waits for a writer of another process
_SUFFIXES = {"JPEG": ".jpg", "TIFF": ".tif"}


@dataclass
class _Outcome:
    """What an edit did."""

    added: int = 0
    updated: int = 0
    removed: int = 0
    failed: list[FailedProduct] = field(default_factory=list)


class ProductChanges:
    """Adds, changes and removes products; callers are in threads, one of them at a time."""

    def __init__(self, keeper: ShelfKeeper) -> None:
        self._keeper = keeper

    def put(self, products: Sequence[Product], *, skip: bool, pending: Pending) -> tuple[Shelf, ChangeAnswer]:
        """Add products, and change those that are there.

        - `products`: n records whose pictures were stored (`store_picture`).
        - `skip`: whether one that cannot be used is left out, instead of refusing all.
        - `pending`: may be given up until the change is saved.

        Raises ProblemError and GivenUpError.
        """
        outcome = _Outcome()

        def edit(catalogue: Catalogue) -> Catalogue:
            return _put(self._keeper.engine_of(catalogue), catalogue, products, skip, outcome, progress=pending.check)

        return self._change(edit, outcome, pending)

    def remove(self, id_: str, *, pending: Pending) -> tuple[Shelf, ChangeAnswer]:
        """Remove a product, unless that is given up. Raises ProblemError and GivenUpError."""
        return self._change(lambda catalogue: catalogue.remove([id_]), _Outcome(removed=1), pending)

    def store_picture(self, data: bytes) -> str:
        """Write a picture below the root of the catalogue's pictures; its path. Raises ProblemError."""
        folder = self._keeper.current.catalogue.root / UPLOADS
        name = recognise(data) or ""
        path = folder / f"{hashlib.sha256(data).hexdigest()[:32]}{_SUFFIXES.get(name, f'.{name.lower()}')}"
        try:
            folder.mkdir(exist_ok=True)
            if not path.is_file():
                with durable(path) as file:
                    file.write(data)
        except OSError as error:
            raise _not_written(error) from error
        return str(path)

    def _change(
        self, edit: Callable[[Catalogue], Catalogue], outcome: _Outcome, pending: Pending
    ) -> tuple[Shelf, ChangeAnswer]:
        def edit_and_keep(catalogue: Catalogue) -> Catalogue:
            changed = edit(catalogue)
            pending.begin_to_save()
            return changed

        try:
            # Every product that goes or loses a side was named by the request.
            change(self._keeper.folder, edit_and_keep, allow_shrink=1.0, timeout=_LOCK_SECONDS)
            self._keeper.refresh(force=True)
        except UnknownIdError as error:
            raise ProblemError(404, "unknown-product", str(error)) from None
        except InputError as error:
            raise ProblemError(422, "bad-product", str(error)) from None
        except (ArtifactError, CatalogueError) as error:
            raise _not_written(error) from error
        shelf = self._keeper.current
        counts = outcome.added, outcome.updated, outcome.removed
        return shelf, ChangeAnswer(shelf.generation, len(shelf.catalogue), *counts, outcome.failed)


def _put(
    engine: Engine,
    catalogue: Catalogue,
    products: Sequence[Product],
    skip: bool,
    outcome: _Outcome,
    *,
    progress: Progress,
) -> Catalogue:
    """The catalogue with products changed and added.

    Raises InputError, also where no product can be used, and what `progress` raises.
    """
    there = catalogue.find([_id(position, product) for position, product in enumerate(products)]) >= 0
    failures: list[FailedProduct] = []

    def policy(positions: Sequence[int]) -> OnError:
        def note(failure: Failure) -> None:
            failures.append(FailedProduct(positions[failure.index], failure.source, failure.reason))

        return note if skip else "raise"

    if known := np.flatnonzero(there).tolist():
        catalogue = catalogue.update(engine, _at(products, known), on_error=policy(known), progress=progress)
    outcome.updated = len(known) - len(failures)
    if new := np.flatnonzero(~there).tolist():
        catalogue = catalogue.add(engine, _at(products, new), on_error=policy(new), progress=progress)
    outcome.added = len(products) - outcome.updated - len(failures)
    outcome.failed = sorted(failures, key=lambda failure: failure.index)
    if len(failures) == len(products):
        raise InputError(f"products: expected one that can be used, found none; the first: {failures[0].detail}")
    return catalogue


def _at(products: Sequence[Product], positions: Sequence[int]) -> list[Product]:
    return [products[position] for position in positions]


def _id(position: int, product: Product) -> str:
    """The id of a record, under which the catalogue is searched for it."""
    try:
        return product_id(product["id"])
    except KeyError:
        raise InputError(f"products[{position}]: expected an id, found none") from None
    except InputError as error:
        raise InputError(f"products[{position}]: {error}") from None


def _not_written(error: Exception) -> ProblemError:
    """The problem of a catalogue or a picture that cannot be written now; the log has the paths."""
    _log.error("catalogue: not written: %s", error)
    return ProblemError(
        503,
        "locked",
        "expected a catalogue that can be written now, found none; the log of the service says why",
        {"Retry-After": "2"},
    )
