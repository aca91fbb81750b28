"""The ways in which a value is copied: by pickle, as worker processes do, and by `copy`."""

from __future__ import annotations

import copy
import pickle
from typing import TypeVar

Value = TypeVar("Value")


def through_pickle(value: Value) -> Value:
    return pickle.loads(pickle.dumps(value))  # type: ignore[no-any-return]


WAYS = [through_pickle, copy.copy, copy.deepcopy]
