"""Ids of products: the one way from a value to an id."""

from __future__ import annotations

import datetime
import decimal
import math
import uuid

import numpy as np

from clipshelf.errors import InputError


def product_id(value: object) -> str:
    """Return the id that `value` stands for, the same for 15970, "15970", 15970.0 and NumPy's and pandas' integers.

    - `value`: text, a finite number, a UUID or a date, also as a NumPy or pandas scalar.

    Raises InputError for anything else, and for text with a lone surrogate.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, str):
        if has_surrogate(value):
            raise InputError(f"id: expected Unicode text, found a lone surrogate in {value!a}")
        return str(value)
    if isinstance(value, (float, decimal.Decimal)) and math.isfinite(value):
        return str(int(value) if value == int(value) else value)
    if isinstance(value, (int, uuid.UUID, datetime.date)) and not isinstance(value, bool) and value == value:  # noqa: PLR0124
        return str(value)
    found = repr(value) if isinstance(value, (bool, float, decimal.Decimal)) else type(value).__name__
    raise InputError(f"id: expected text or a number, found {found}")


def has_surrogate(text: str) -> bool:
    """Whether a string holds half of a surrogate pair, which UTF-8 cannot encode."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False
