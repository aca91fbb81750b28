"""Finds the columns of id, text and image, and those that are declared, among the names that a source has."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from difflib import get_close_matches
from typing import Any

from clipshelf.catalogue.messages import OnWarning, shorten_list
from clipshelf.catalogue.reading.readers import ProductFields
from clipshelf.catalogue.reading.source import Source
from clipshelf.errors import InputError

_NAMES_LISTED = 20


def names_of(source: Source) -> Collection[str]:
    """The names of a source's columns: those of its header, else those that its records have."""
    if source.names is not None:
        return source.names
    names: dict[Any, None] = {}
    for record in source.records:
        if isinstance(record, Mapping):
            names.update(dict.fromkeys(record))
    return [name for name in names if isinstance(name, str)]


def match_fields(
    fields: ProductFields,
    source: Source,
    names: Collection[str],
    others: Iterable[str],
    warn: OnWarning,
    *,
    is_part: bool = False,
) -> ProductFields:
    """Put the names that a source has into `fields`.

    - `names`: the names of the source's columns.
    - `others`: names of the catalogue's columns; they may be declared although the source lacks them.
    - `warn`: called for a name that differs in its case, or by blanks, from the one that is expected, or from a column
      of the catalogue.
    - `is_part`: whether the source is a part of a larger one, so that it may lack any column.

    A name that no column has is an error, unless it is a default, which may be absent. So is one that several columns
    have in other case.
    """
    if not names and source.names is None:
        return fields
    match = _Matcher(source, names, warn)
    roles: dict[str, Any] = {"id": match(fields.id, optional=is_part or fields.id == "id")}
    for role, columns in (("text", fields.text_columns), ("image", fields.image_columns)):
        roles[role] = tuple(match(name, optional=is_part or columns == (role,)) for name in columns)
    others = set(others)
    declared = {
        name if name in others and name not in names else match(name, optional=is_part): declaration
        for name, declaration in fields.columns.items()
    }
    taken = [name for name in declared if name in (roles["id"], *roles["text"], *roles["image"])]
    if taken:
        raise InputError(
            f"columns: expected declarations of others than id, text and image, found {shorten_list(taken)}"
        )
    _warn_of_alike(source, set(names) - {roles["id"], *roles["text"], *roles["image"]}, others, warn)
    words = [name if name in others and name not in names else match(name, optional=is_part) for name in fields.words]
    return replace(fields, columns=declared, words=words, **roles)


def _warn_of_alike(source: Source, names: Collection[str], columns: Collection[str], warn: OnWarning) -> None:
    """Tell of each new column that a column of the catalogue differs from in case or blanks alone."""
    known: dict[str, list[str]] = {}
    for column in columns:
        known.setdefault(plain_name(column), []).append(column)
    prefix = f"{source.name}: " if source.name else ""
    for name in sorted(set(names) - set(columns)):
        if alike := known.get(plain_name(name)):
            listed = shorten_list(map(repr, alike))
            warn(
                f"{prefix}the column {name!r} is another one than the catalogue's {listed}; rename it if it is the same"
            )


class _Matcher:
    """Finds a name among `names`."""

    def __init__(self, source: Source, names: Collection[str], warn: OnWarning) -> None:
        self._prefix = f"{source.name}: " if source.name else ""
        self._names = names
        self._warn = warn

    def __call__(self, name: str, *, optional: bool) -> str:
        """The name of the column that `name` means, `name` itself for an optional one that is not there."""
        alike = [other for other in self._names if plain_name(other) == plain_name(name)]
        if name in alike:
            if len(alike) > 1:
                others = shorten_list(repr(other) for other in alike if other != name)
                self._warn(f"{self._prefix}the column {others} is another one than {name!r}")
            return name
        if len(alike) == 1:
            self._warn(f"{self._prefix}the column {alike[0]!r} is taken for {name!r}")
            return alike[0]
        if alike:
            raise InputError(f"{self._prefix}expected one column named {name}, found {shorten_list(map(repr, alike))}")
        if optional:
            return name
        close = get_close_matches(plain_name(name), list(map(plain_name, self._names)), 1)
        hint = f"; did you mean {next(o for o in self._names if plain_name(o) == close[0])}?" if close else ""
        found = shorten_list(self._names, _NAMES_LISTED) or "no columns"
        raise InputError(f"{self._prefix}expected a column named {name}, found {found}{hint}")


def plain_name(name: str) -> str:
    """A name without what people do not see: case, blanks around it, a byte order mark."""
    return name.replace("\ufeff", "").strip().casefold()
