"""Warnings, and lists of names and ids for error messages."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeAlias

from clipshelf.display import describe
from clipshelf.errors import UnknownIdError

# Called with a message about something that fails nothing, such as a cell that counts as missing.
OnWarning: TypeAlias = Callable[[str], object]

_LONGEST_NAME = 80


def shorten_list(names: Iterable[object], limit: int = 5) -> str:
    """Join names with commas: the first `limit` of them, and how many more there are; "" for an empty list.

    A long name is cut.
    """
    listed = [name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]}..." for name in map(str, names)]
    more = f" and {len(listed) - limit} more" if len(listed) > limit else ""
    return ", ".join(listed[:limit]) + more


def unknown_ids_error(ids: Iterable[str], products: int) -> UnknownIdError:
    """The error for ids that a catalogue lacks.

    - `ids`: these, which its message lists.
    - `products`: how many products the catalogue has.
    """
    listed = shorten_list(map(describe, ids))
    return UnknownIdError(f"id: expected ids of the catalogue's {products} products, found {listed}")
