"""Checks products and turns them into records: an id, a text, a picture or both, and other fields as plain values."""

from __future__ import annotations

import datetime
import decimal
import functools
import math
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from clipshelf.catalogue.kinds import Declaration
from clipshelf.catalogue.messages import OnWarning, shorten_list
from clipshelf.catalogue.readers import DEFAULT_FIELDS, ProductFields, read_source
from clipshelf.errors import InputError
from clipshelf.failures import OnError, attempt, check_on_error, handle
from clipshelf.types import PathLike, Product


@dataclass(frozen=True)
class ProductBatch:
    """Products that were read and checked, ready to be embedded.

    - `root`: the folder that their relative picture paths start from.
    - `products`: n records, each with a unique `id`, and a `text`, an `image` or both.
    - `positions`: n positions of them in their source, from 0.
    - `fields`: n sets of the names that the source has for each, also those without a value (a blank cell, a null):
      what a partial update changes. The names of id, text and image are these three.
    - `declarations`: the declaration of every column by name, "" for one that has no value yet; what a catalogue keeps
      and hands to `columns_of`.
    """

    root: Path
    products: list[Product]
    positions: list[int]
    fields: Sequence[frozenset[str]] = ()
    declarations: Mapping[str, Declaration] = field(default_factory=dict)


def product_id(value: object) -> str:
    """Return the id that `value` stands for, the same for 15970, "15970", 15970.0 and NumPy's and pandas' integers.

    - `value`: text, a number without a fraction, a UUID or a date, also as a NumPy or pandas scalar.

    Raises InputError for anything else, and for text with a lone surrogate.
    """
    if isinstance(value, np.generic):
        value = value.item()
    return str(value)


def read_products(
    source: PathLike | Iterable[Product],
    *,
    fields: ProductFields = DEFAULT_FIELDS,
    on_error: OnError = "raise",
    ids_required: bool = False,
    partial: bool = False,
    declarations: Mapping[str, Declaration] | None = None,
    on_warning: OnWarning | None = None,
) -> ProductBatch:
    """Read and check products.

    - `source`: a file, a table or an iterable of dicts, as `readers.read_source` takes it.
    - `fields`: the columns of id, text and image.
    - `on_error`: the error policy for a product that cannot be used, see `clipshelf.failures`.
    - `ids_required`: whether a product without an id is an error; else it gets its position in the source.
    - `partial`: whether a product may lack both text and image, as in an update of prices alone.
    - `declarations`: those of the catalogue that the products come into, by column; `fields.columns` goes before them.
    - `on_warning`: called with each message about what fails nothing: cells that count as missing, a name in another
      case, an encoding that was guessed.

    Raises InputError for a source that cannot be read, and, whatever `on_error` says, for an id that occurs twice.
    """
    check_on_error(on_error)
    root, records = read_source(source, fields)
    products: list[Product] = []
    positions: list[int] = []
    for position, record in enumerate(records):
        checked = attempt(functools.partial(_checked, position, record, fields, ids_required))
        if isinstance(checked, InputError):
            id_ = record.get(fields.id) if isinstance(record, dict) else None
            handle(on_error, position, str(position if id_ is None else id_), checked)
        else:
            products.append(checked)
            positions.append(position)
    repeated = [id_ for id_, count in Counter(product["id"] for product in products).items() if count > 1]
    if repeated:
        raise InputError(f"id: expected unique ids, found more than one of {shorten_list(repeated)}")
    return ProductBatch(root, products, positions)


def stored_record(product: Product, *, source_root: Path, root: Path) -> Product:
    """Return the record of a product that a catalogue stores.

    - `product`: a product whose relative picture path starts from `source_root`.
    - `root`: the folder that the catalogue's relative picture paths start from.

    A picture that is no file cannot be shown again; the record has no `image` then.
    """
    image = product.get("image")
    if image is None:
        return product
    if isinstance(image, (str, os.PathLike)):
        return {**product, "image": os.fspath(image if root == source_root else source_root / image)}
    return {key: value for key, value in product.items() if key != "image"}


def _checked(position: int, record: Any, fields: ProductFields, ids_required: bool) -> Product:
    """The product of a record; raises InputError naming it."""
    try:
        return _check(position, record, fields, ids_required)
    except RecursionError:
        raise InputError(f"product {position}: expected lists and dicts nested less deeply") from None


def _check(position: int, record: Any, fields: ProductFields, ids_required: bool) -> Product:
    if not isinstance(record, dict):
        raise InputError(f"product {position}: expected a dict with text, image or both, found {type(record).__name__}")
    bad_names = [name for name in record if not isinstance(name, str) or _has_surrogate(name)]
    if bad_names:
        found = shorten_list(map(ascii, bad_names))
        raise InputError(f"product {position}: expected field names in Unicode text, found {found}")
    where = f"product {position}" if record.get(fields.id) is None else f"product {record[fields.id]!r}"
    values = {name: value for name, value in _renamed(record, fields, where) if not _is_missing(value)}
    text = values.get("text")
    if text is not None and not isinstance(text, str):
        raise InputError(f"{where}: text: expected str, found {type(text).__name__}")
    if text is not None and not text.strip():
        del values["text"]
    if "text" not in values and "image" not in values:
        raise InputError(f"{where}: expected a text, an image or both, found {shorten_list(values) or 'nothing'}")
    if "id" not in values and ids_required:
        raise InputError(f"{where}: expected an id, found none")
    id_ = str(values.pop("id", position))
    if _has_surrogate(id_):
        raise InputError(f"{where}: id: expected Unicode text, found a lone surrogate")
    # The order of the fields is part of the catalogue format.
    image = {"image": values.pop("image")} if "image" in values else {}
    return {"id": id_, **image, **{name: _plain(value, f"{where}: {name}") for name, value in values.items()}}


def _renamed(record: Product, fields: ProductFields, where: str) -> Iterator[tuple[str, Any]]:
    """The fields of a record, those of id, text and image under these three names."""
    new_names = {
        column: name
        for name, column in (("id", fields.id), ("text", fields.text), ("image", fields.image))
        if column != name
    }
    for column, name in new_names.items():
        if column in record and name in record and name not in new_names:
            raise InputError(f"{where}: expected one column for {name}, found {column} and {name}: rename or drop one")
    for name, value in record.items():
        yield new_names.get(name, name), value


def _is_missing(value: Any) -> bool:
    """Whether a value stands for a missing one: None, an empty string, NaN."""
    return value is None or (isinstance(value, str) and not value) or (isinstance(value, float) and math.isnan(value))


def _plain(value: Any, where: str) -> Any:
    """`value` in the types that JSON has; dates become ISO strings, decimals floats. Raises InputError."""
    if isinstance(value, (np.generic, np.ndarray)):
        value = value.tolist()
    if isinstance(value, str):
        if _has_surrogate(value):
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


def _has_surrogate(text: str) -> bool:
    """Whether a string holds half of a surrogate pair, which UTF-8 cannot encode."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False
