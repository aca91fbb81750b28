"""The kinds of columns, and how they are declared.

    kind       values                                                    declaration
    bool       true or false                                             bool
    number     integers and floats                                       number, number:, (the decimal mark is a comma)
    text       strings                                                   text
    date       dates and times                                           date (ISO 8601), date:FORMAT (as of strptime)
    numbers    lists of numbers                                          numbers
    texts      lists of strings                                          texts
    mixed      values of several kinds, or records; no filter takes it

A column has one kind for the whole catalogue. It is declared, or else inferred from the values that come first; the
declaration is then kept with the catalogue, so that later values are converted alike.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Literal, TypeAlias, get_args

from clipshelf.errors import InputError

Kind = Literal["bool", "number", "text", "date", "numbers", "texts", "mixed"]

# A kind, "number:," or "date:" with a format: what a caller declares and a catalogue keeps.
Declaration: TypeAlias = str

KINDS: tuple[Kind, ...] = get_args(Kind)


def kind_of(declaration: Declaration) -> Kind:
    """Return the kind that a declaration names; raises InputError for one that is none."""
    name, _, argument = declaration.partition(":")
    for kind in KINDS:
        if kind == name and (not argument or (kind == "number" and argument in ".,") or kind == "date"):
            return kind
    raise InputError(
        f"columns: expected one of {', '.join(KINDS)}, 'number:,' for decimal commas, or 'date:' and a format such as "
        f"'date:%d.%m.%Y', found {declaration!r}"
    )


def check_declarations(declarations: Mapping[str, Declaration]) -> None:
    """Raise InputError naming the column whose declaration cannot be used."""
    for name, declaration in declarations.items():
        try:
            kind = kind_of(declaration)
        except InputError as error:
            raise InputError(f"column {name}: {error}") from None
        argument = declaration.partition(":")[2]
        if kind == "date" and argument:
            _check_format(name, argument)


def _check_format(name: str, pattern: str) -> None:
    """Raise InputError unless a format of dates has at least a year, and reads what it writes."""
    moment = datetime.datetime(2026, 11, 28, 13, 14, 15)
    try:
        back = datetime.datetime.strptime(moment.strftime(pattern), pattern)
        fits = back.year == moment.year
    except ValueError:
        fits = False
    if not fits:
        raise InputError(f"column {name}: expected a format of dates such as %d.%m.%Y, found {pattern!r}")
