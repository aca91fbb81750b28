"""Product records from a list of dicts or a CSV file, checked before anything is embedded."""

from __future__ import annotations

import csv
import os
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from clipshelf.errors import InputError
from clipshelf.types import PathLike, Product

_NUMBER = re.compile(r"-?(0|[1-9]\d{0,14})(\.\d+)?")
_NAMES_SHOWN = 5


def read_products(source: PathLike | Iterable[Product]) -> tuple[Path, list[Product]]:
    """Read products and the folder that their relative pictures start from.

    Every product comes back with an `id` of type str, unique, and a `text`, an `image` or both.
    Raises InputError naming the products that don't fit.
    """
    if isinstance(source, (str, os.PathLike)):
        path = Path(source)
        root, products = path.parent.resolve(), _read_csv(path)
    else:
        root, products = Path.cwd(), list(source)
    checked = [_check(row, product) for row, product in enumerate(products)]
    twice = [id_ for id_, count in Counter(product["id"] for product in checked).items() if count > 1]
    if twice:
        raise InputError(f"id: expected unique ids, found more than one of {_some(twice)}")
    return root, checked


def _check(row: int, product: Any) -> Product:
    if not isinstance(product, dict):
        raise InputError(f"product {row}: expected a dict with text, image or both, found {type(product).__name__}")
    known = {
        key: value for key, value in product.items() if not (value is None or (isinstance(value, str) and not value))
    }
    text = known.get("text")
    if text is not None and not isinstance(text, str):
        raise InputError(f"product {row}: text: expected str, found {type(text).__name__}")
    if text is not None and not text.strip():
        del known["text"]
    if "text" not in known and "image" not in known:
        raise InputError(f"product {row}: expected a text, an image or both, found {_some(known) or 'nothing'}")
    return {**known, "id": str(known.get("id", row))}


def _read_csv(path: Path) -> list[Product]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, restkey="", strict=True)
            rows = list(reader)
            columns = list(reader.fieldnames or ())
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: expected a CSV file in UTF-8, found: {error}") from error
    if not {"text", "image"} & set(columns):
        raise InputError(f"{path}: expected a column named text or image, found {_some(columns) or 'no columns'}")
    for line, row in enumerate(rows, 2):
        if "" in row or None in row.values():
            raise InputError(f"{path}: row {line}: expected {len(columns)} cells, as many as the header, found others")
    for column in set(columns) - {"id", "text", "image"}:
        cells = [row[column] for row in rows if row[column]]
        if all(_NUMBER.fullmatch(cell) for cell in cells):
            for row in rows:
                row[column] = float(row[column]) if row[column] else None
    return rows


def _some(names: Iterable[object]) -> str:
    """The first few of some names, for a message."""
    shown = [str(name) for name in names]
    more = f" and {len(shown) - _NAMES_SHOWN} more" if len(shown) > _NAMES_SHOWN else ""
    return ", ".join(shown[:_NAMES_SHOWN]) + more
