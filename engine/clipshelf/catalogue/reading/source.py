"""What readers return: the records of a source, before they are checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clipshelf.catalogue.messages import shorten_list
from clipshelf.errors import InputError


@dataclass(frozen=True)
class Part:
    """What a source is of a larger one, any of whose columns it may lack.

    - `name`: of the larger source, for messages; "" where the source is not read as another file.
    - `names`: of the columns of the larger one, None where those of the part count.
    - `records`: their number before the part.
    - `lines`: the number of lines before the part, without those of the header, which the part has again.
    """

    name: str = ""
    names: tuple[str, ...] | None = None
    records: int = 0
    lines: int = 0


# Of a source that is not a part of another one.
WHOLE = Part()


@dataclass(frozen=True)
class Source:
    """The records of a source, unchecked.

    - `records`: n records: dicts, unless the source holds something else, or for a line that cannot be read its
      InputError.
    - `root`: the folder that relative picture paths start from.
    - `name`: the file for messages, "" for a source in memory.
    - `lines`: the line of the file in which each record begins, empty where there are none.
    - `names`: the names of the columns, None where each record has its own.
    - `is_text`: whether all values are text, as in a CSV file; a blank cell is an empty string.
    - `warnings`: what was guessed or left out.
    - `first`: the number of records before these, where they are a part of a larger source.
    """

    records: Sequence[Any]
    root: Path = field(default_factory=Path.cwd)
    name: str = ""
    lines: Sequence[int] = ()
    names: Sequence[str] | None = None
    is_text: bool = False
    warnings: Sequence[str] = ()
    first: int = 0

    def where(self, position: int) -> str:
        """The file and line of a record, to begin a message with; "" for a source without lines."""
        return f"{self.name}: line {self.lines[position]}: " if self.lines else f"{self.name}: " if self.name else ""


def check_names(name: str, names: Sequence[str]) -> None:
    """Raise InputError where two columns of the table `name` have one name."""
    if len(set(names)) < len(names):
        repeated = sorted({column for column in names if list(names).count(column) > 1})
        raise InputError(
            f"{name}: expected columns of different names, found {shorten_list(names)}: rename or drop one of the "
            f"columns {shorten_list(repeated)}"
        )
