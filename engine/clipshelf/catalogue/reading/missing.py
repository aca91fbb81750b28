"""Tells which values of a source stand for nothing."""

from __future__ import annotations

import decimal
import math

import numpy as np

_MISSING_TYPES = ("NAType", "NaTType")


def is_missing(value: object) -> bool:
    """Whether a value stands for a missing one: None, an empty string, NaN, or pandas' NA and NaT."""
    if isinstance(value, str):
        return not value
    return (
        value is None
        or (isinstance(value, (float, np.floating, decimal.Decimal)) and math.isnan(value))
        or (isinstance(value, (np.datetime64, np.timedelta64)) and bool(np.isnat(value)))
        or type(value).__name__ in _MISSING_TYPES
    )
