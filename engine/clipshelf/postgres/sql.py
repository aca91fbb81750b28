"""Pieces of SQL with their parameters, and filters as such pieces. Values are always parameters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from psycopg import sql

from clipshelf.catalogue.filtering.conditions import AnyOf, Condition, Not, Test
from clipshelf.postgres.columns import TableColumn, for_table
from clipshelf.recommend.boosts import Addition


@dataclass(frozen=True)
class Piece:
    """Text of SQL, with %s where its parameters stand."""

    text: sql.Composable
    parameters: tuple[Any, ...] = ()


TRUE, FALSE = Piece(sql.SQL("true")), Piece(sql.SQL("false"))


def piece(text: str, *parameters: Any, **names: sql.Composable) -> Piece:
    """A piece with names of columns and tables in braces."""
    return Piece(sql.SQL(text).format(**names), parameters)


def joined(word: str, pieces: Iterable[Piece]) -> Piece:
    """Pieces in parentheses, with a word between them."""
    parts = list(pieces)
    text = sql.SQL(f" {word} ").join(sql.SQL("({})").format(part.text) for part in parts)
    return Piece(text, tuple(parameter for part in parts for parameter in part.parameters))


def all_of(pieces: Iterable[Piece]) -> Piece:
    """What all pieces let through."""
    parts = [part for part in pieces if part is not TRUE]
    return joined("and", parts) if parts else TRUE


def condition_piece(condition: Condition, columns: Mapping[str, TableColumn]) -> Piece:
    """A checked filter in SQL; it is never NULL."""
    if isinstance(condition, Test):
        return _test(condition, columns)
    if isinstance(condition, Not):
        part = condition_piece(condition.part, columns)
        return Piece(sql.SQL("not ({})").format(part.text), part.parameters)
    parts = [condition_piece(part, columns) for part in condition.parts]
    if isinstance(condition, AnyOf):
        return joined("or", parts) if parts else FALSE
    return all_of(parts)


def _test(test: Test, columns: Mapping[str, TableColumn]) -> Piece:
    """One operator; what compares with a missing value is false, as `filter_masks` has it."""
    column: sql.Composable = sql.SQL("normalize({}, NFC)").format(sql.Identifier("id"))
    if test.column != "id":
        column = sql.Identifier(columns[test.column].name)
    values = [for_table(test.kind, value) for value in test.values]
    if test.operator == "in":
        array = {"number": "numeric[]", "bool": "boolean[]"}.get(test.kind, "text[]")
        return piece(f"coalesce({{column}} = any(%s::{array}), false)", values, column=column)
    [value] = values
    if value is None:
        return piece("{column} is null" if test.operator == "==" else "{column} is not null", column=column)
    if test.kind in ("numbers", "texts"):
        one = "numeric" if test.kind == "numbers" else "text"
        return piece(f"coalesce(%s::{one} = any({{column}}), false)", value, column=column)
    if test.operator == "contains":
        return piece("coalesce(strpos({column}, %s::text) > 0, false)", value, column=column)
    one = {"number": "numeric", "bool": "boolean"}.get(test.kind, "text")
    if test.operator in ("==", "!="):
        same = "is not distinct from" if test.operator == "==" else "is distinct from"
        return piece(f"{{column}} {same} %s::{one}", value, column=column)
    return piece(f"coalesce({{column}} {test.operator} %s::{one}, false)", value, column=column)


def addition_piece(addition: Addition, column: TableColumn) -> Piece:
    """What a boost or freshness adds to the score of a product."""
    number = sql.Identifier(column.number)
    if addition.half_life is None:
        return piece("%s::float8 * coalesce({number}, 0)", addition.weight, number=number)
    age = "least(1000, greatest(0, (%s::float8 - {number}) / %s::float8))"
    parameters = (addition.weight, addition.now or 0.0, addition.half_life)
    return piece(f"coalesce(%s::float8 * exp(-ln(2.0::float8) * {age}), 0)", *parameters, number=number)
