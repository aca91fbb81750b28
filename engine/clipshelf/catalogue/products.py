"""Products as they are kept: records with an id, a text, a picture or both, and any other fields as plain values."""

from __future__ import annotations

import datetime
import decimal
import math
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from clipshelf.catalogue.readers import Fields, read_source, some
from clipshelf.errors import InputError
from clipshelf.types import PathLike, Product

_FIELDS = Fields()


@dataclass(frozen=True)
class Skipped:
    """A product that was left out, and why."""

    id: str
    reason: str


@dataclass(frozen=True)
class Batch:
    """Products to embed, the folder that their relative pictures start from, and those that don't fit."""

    root: Path
    products: list[Product]
    skipped: tuple[Skipped, ...] = ()


def read_products(
    source: PathLike | Iterable[Product], *, fields: Fields = _FIELDS, on_error: str = "raise", numbered: bool = True
) -> Batch:
    """Read products, of which each then has an `id` of type str, unique, and a `text`, an `image` or both.

    `fields` names the columns of these three. A product without an id gets its position where `numbered`. One that
    doesn't fit raises InputError, or with `on_error="skip"` is left out; ids that come twice always raise.
    """
    if on_error not in ("raise", "skip"):
        raise InputError(f"on_error: expected 'raise' or 'skip', found {on_error!r}")
    root, records = read_source(source, fields)
    products: list[Product] = []
    skipped: list[Skipped] = []
    for row, record in enumerate(records):
        checked = _try_check(row, record, fields, numbered)
        if isinstance(checked, dict):
            products.append(checked)
        elif on_error == "raise":
            raise checked
        else:
            name = record.get(fields.id) if isinstance(record, dict) else None
            skipped.append(Skipped(str(row if name is None else name), str(checked)))
    twice = [id_ for id_, count in Counter(product["id"] for product in products).items() if count > 1]
    if twice:
        raise InputError(f"id: expected unique ids, found more than one of {some(twice)}")
    return Batch(root, products, tuple(skipped))


def kept(product: Product, *, root: Path, source: Path) -> Product:
    """A product as it is kept, its picture's path once from the folder `source`, now from `root`.

    A picture that is no file cannot be shown again and goes.
    """
    image = product.get("image")
    if image is None:
        return product
    if isinstance(image, (str, os.PathLike)):
        return {**product, "image": os.fspath(image if root == source else source / image)}
    return {key: value for key, value in product.items() if key != "image"}


def _try_check(row: int, record: Any, fields: Fields, numbered: bool) -> Product | InputError:
    try:
        return _check(row, record, fields, numbered)
    except InputError as error:
        return error
    except RecursionError:
        return InputError(f"product {row}: expected lists and dicts nested less deeply")


def _check(row: int, record: Any, fields: Fields, numbered: bool) -> Product:
    if not isinstance(record, dict):
        raise InputError(f"product {row}: expected a dict with text, image or both, found {type(record).__name__}")
    odd = [name for name in record if not isinstance(name, str) or _surrogate(name)]
    if odd:
        raise InputError(f"product {row}: expected field names in Unicode text, found {some(map(ascii, odd))}")
    where = f"product {row}" if record.get(fields.id) is None else f"product {record[fields.id]!r}"
    known = {name: value for name, value in _named(record, fields, where).items() if not _is_nothing(value)}
    text = known.get("text")
    if text is not None and not isinstance(text, str):
        raise InputError(f"{where}: text: expected str, found {type(text).__name__}")
    if text is not None and not text.strip():
        del known["text"]
    if "text" not in known and "image" not in known:
        raise InputError(f"{where}: expected a text, an image or both, found {some(known) or 'nothing'}")
    if "id" not in known and not numbered:
        raise InputError(f"{where}: expected an id, found none")
    id_ = str(known.get("id", row))
    if _surrogate(id_):
        raise InputError(f"{where}: id: expected Unicode text, found a lone surrogate")
    facts = {name: _plain(value, f"{where}: {name}") for name, value in known.items() if name not in ("id", "image")}
    image = {"image": known["image"]} if "image" in known else {}
    return {"id": id_, **image, **facts}


def _named(record: Product, fields: Fields, where: str) -> Product:
    """The record with its columns for id, text and image under these three names."""
    renamed = {own: name for name, own in vars(fields).items() if own != name}
    for own, name in renamed.items():
        if own in record and name in record and name not in renamed:
            raise InputError(f"{where}: expected one column for {name}, found {own} and {name}: rename or drop one")
    return {renamed.get(name, name): value for name, value in record.items()}


def _is_nothing(value: Any) -> bool:
    """Whether a value stands for a missing one: None, an empty string, NaN."""
    return value is None or (isinstance(value, str) and not value) or (isinstance(value, float) and math.isnan(value))


def _plain(value: Any, where: str) -> Any:
    """`value` in the types that JSON has; dates become ISO strings, decimals floats. Raises InputError."""
    if isinstance(value, (np.generic, np.ndarray)):
        value = value.tolist()
    if isinstance(value, str):
        if _surrogate(value):
            raise InputError(f"{where}: expected Unicode text, found a lone surrogate")
        return str(value)
    if isinstance(value, decimal.Decimal):
        value = float(value)
    if isinstance(value, (bool, int)) or value is None or (isinstance(value, float) and math.isfinite(value)):
        return value
    if isinstance(value, (list, tuple)):
        return [_plain(item, where) for item in value]
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: _plain(item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    found = repr(value) if isinstance(value, float) else type(value).__name__
    raise InputError(
        f"{where}: expected text, a finite number, true, false, or lists and dicts of these, found {found}"
    )


def _surrogate(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False
