"""The columns that filters see in a sharded catalogue: their kinds are those of all shards together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from clipshelf.catalogue.filtering.filter_columns import RECORD_COLUMNS, is_dotted, nfc
from clipshelf.catalogue.typed_columns.kinds import kind_of

_MOST_ABSENT = 1024  # dotted names without a value that are remembered; clients may ask for any


class ShardedColumns(Mapping[str, str]):
    """The kind of each column by name; names are compared in the normal form NFC.

    - `kinds`: of the columns of all shards.
    - `declare`: gives the declaration of a dotted column, "" for one that no product has.
    """

    def __init__(self, kinds: Mapping[str, Any], declare: Callable[[str], str]) -> None:
        self._kinds = {nfc(name): kind for name, kind in kinds.items()}
        self._declare = declare
        self._dotted: dict[str, str] = {}
        self._absent: dict[str, None] = {}

    def __getitem__(self, name: str) -> str:
        name = nfc(name)
        if name in self._kinds:
            return str(self._kinds[name])
        if name in RECORD_COLUMNS:
            return "text"
        if not isinstance(name, str) or not is_dotted(name, self._kinds):
            raise KeyError(name)
        if name in self._absent:
            raise KeyError(name)
        if name not in self._dotted:
            declaration = self._declare(name)
            if not declaration:
                if len(self._absent) < _MOST_ABSENT:
                    self._absent[name] = None
                raise KeyError(name)
            self._dotted[name] = declaration
        return kind_of(self._dotted[name])

    def __iter__(self) -> Iterator[str]:
        """The names of all columns without the dotted ones."""
        yield from self._kinds
        yield from (name for name in RECORD_COLUMNS if name not in self._kinds)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def of_records(self, names: Iterable[str]) -> dict[str, str]:
        """The declarations of those of some columns that are read from records: dotted ones, `id` and `text`."""
        present = [name for name in map(nfc, names) if name in self and name not in self._kinds]
        return {name: self._dotted.get(name, "text") for name in present}
