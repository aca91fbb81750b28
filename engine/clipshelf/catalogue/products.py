"""Reads products from any source, checks them, and decides the kinds of their columns."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import compress
from pathlib import Path

import numpy as np

from clipshelf.catalogue.ids import product_id as product_id  # noqa: PLC0414
from clipshelf.catalogue.messages import OnWarning, shorten_list
from clipshelf.catalogue.reading.field_names import match_fields, names_of
from clipshelf.catalogue.reading.readers import DEFAULT_FIELDS, ProductFields, read_source
from clipshelf.catalogue.reading.records import RecordChecker
from clipshelf.catalogue.reading.source import WHOLE, Part, Source
from clipshelf.catalogue.side_parts import FALLOFF
from clipshelf.catalogue.typed_columns.declarations import declare_columns
from clipshelf.catalogue.typed_columns.kinds import Declaration
from clipshelf.errors import InputError
from clipshelf.failures import OnError, check_on_error, handle
from clipshelf.types import Mask, PathLike, Product

_WHOLE_ID = re.compile(r"[0-9]+(\.0)?")


@dataclass(frozen=True)
class Repeat:
    """A product whose id an earlier one has; it counts where that one cannot be embedded.

    - `product`, `position`, `fields`: as in `ProductBatch`.
    - `where`: its file and line, to begin a message with.
    - `place`, `first_place`: where it is, and the first product with its id, in words.
    """

    product: Product
    position: int
    fields: frozenset[str]
    where: str
    place: str
    first_place: str

    def error(self, used_place: str) -> InputError:
        """Why it is left out; `used_place` is that of the product which counts."""
        return InputError(
            f"{self.where}id: expected unique ids, found {self.product['id']!r} again, which {used_place} has"
        )


@dataclass(frozen=True)
class ProductBatch:
    """Products that were read and checked, ready to be embedded.

    - `root`: the folder that their relative picture paths start from.
    - `products`: n records, each with a unique `id`, and a `text`, an `image` or both; either may be a list.
    - `positions`: n positions of them in their source, from 0.
    - `fields`: n sets of the names that the source has for each, also those without a value (a blank cell, a null):
      what a partial update changes. The names of id, text and image are these three.
    - `words`: the fields of records whose words are indexed.
    - `declarations`: the declaration of every column by name, "" for one that has no value yet; what a catalogue keeps
      and hands to `columns_of`.
    - `falloff`: how much each text or picture of a product counts beside the one before it.
    - `repeats`: further products with ids of these, in order.
    - `names`: the names of the columns, as the source spells them.
    """

    root: Path
    products: list[Product]
    positions: list[int]
    fields: Sequence[frozenset[str]] = ()
    words: tuple[str, ...] = ()
    declarations: Mapping[str, Declaration] = field(default_factory=dict)
    falloff: float = FALLOFF
    repeats: Sequence[Repeat] = ()
    names: Sequence[str] = ()

    def with_repeats(self) -> ProductBatch:
        """The batch of these products followed by the repeats."""
        if not self.repeats:
            return self
        return replace(
            self,
            products=[*self.products, *(repeat.product for repeat in self.repeats)],
            positions=[*self.positions, *(repeat.position for repeat in self.repeats)],
            fields=[*self.fields, *(repeat.fields for repeat in self.repeats)],
        )

    def without_repeats(self, on_error: OnError) -> ProductBatch:
        """The batch without its repeats, each of which is handled as `on_error` says."""
        for repeat in self.repeats:
            handle(on_error, repeat.position, repeat.product["id"], repeat.error(repeat.first_place))
        return replace(self, repeats=())

    def select(self, good: Mask) -> ProductBatch:
        """The batch of those that may be used; a repeat becomes a product where none before it has its id.

        - `good`: (n + repeats,) bool, of the products and then of the repeats.
        """
        count = len(self.products)
        batch = self.take(np.flatnonzero(good[:count]).tolist())
        place_of: dict[str, str | None] = {product["id"]: None for product in batch.products}
        firsts, others = [], []
        for repeat in compress(self.repeats, good[count:]):
            id_ = repeat.product["id"]
            if id_ not in place_of:
                place_of[id_] = repeat.place
                firsts.append(repeat)
            else:
                others.append(replace(repeat, first_place=place_of[id_] or repeat.first_place))
        return replace(replace(batch, repeats=firsts).with_repeats(), repeats=others)

    def take(self, rows: Sequence[int]) -> ProductBatch:
        """The batch of the products in these rows, and of all repeats."""
        return replace(
            self,
            products=[self.products[row] for row in rows],
            positions=[self.positions[row] for row in rows],
            fields=[self.fields[row] for row in rows],
        )


def read_products(
    source: PathLike | Iterable[Product],
    *,
    fields: ProductFields = DEFAULT_FIELDS,
    on_error: OnError = "raise",
    ids_required: bool = False,
    partial: bool = False,
    declarations: Mapping[str, Declaration] | None = None,
    convert: bool = True,
    on_warning: OnWarning | None = None,
    part: Part | None = None,
) -> ProductBatch:
    """Read and check products.

    - `source`: a file, a table or an iterable of dicts, as `readers.read_source` takes it.
    - `fields`: the columns of id, text and image.
    - `on_error`: the error policy for a product that cannot be used, see `clipshelf.failures`.
    - `ids_required`: whether a product without an id is an error; else it gets its position in the source.
    - `partial`: whether a product may lack both text and image, as in an update of prices alone.
    - `declarations`: those of the catalogue that the products come into, by column; `fields.columns` goes before them.
    - `convert`: whether the kinds of columns are decided and cells of tables converted to them; without, the batch has
      no declarations, and the values are as the source has them.
    - `on_warning`: called with each message about what fails nothing: cells that count as missing, a name in another
      case, an encoding that was guessed.
    - `part`: what the source is of a larger one, None where it is whole.

    Raises InputError for a source that cannot be read and, as `on_error` says, for a product that cannot be used. With
    `on_error="raise"` it also raises for an id that occurs again; else the first product of an id counts, and the
    others are the `repeats` of the batch.
    """
    check_on_error(on_error)
    warn: OnWarning = on_warning or (lambda _: None)
    table = read_source(source, fields, part or WHOLE)
    for warning in table.warnings:
        warn(warning)
    if not table.records:
        warn(f"{table.name or 'products'}: there are no products")
    names = names_of(table)
    known = names if part is None or part.names is None else part.names
    fields = match_fields(fields, table, known, declarations or (), warn, is_part=part is not None)
    _check_header(table, fields, sides_required=not partial, ids_required=ids_required)
    checker = RecordChecker(fields, is_text=table.is_text, ids_required=ids_required, partial=partial)
    batch = _check_all(table, checker, on_error)
    _warn_of_records(table, checker, "" if fields.id in names else fields.id, warn)
    if table.is_text:
        _tidy_ids(batch.products, warn)
    batch = _set_repeats_apart(table, batch, checker, on_error)
    words = tuple(dict.fromkeys("text" if name in fields.text_columns else name for name in fields.words))
    falloff = FALLOFF if fields.falloff is None else fields.falloff
    batch = replace(batch, words=words, falloff=float(falloff), names=tuple(names))
    if not convert:
        return batch
    products = batch.with_repeats().products
    kinds = declare_columns(products, fields.columns, declarations or {}, is_text=table.is_text, warn=warn)
    return replace(batch, declarations=kinds)


def _check_header(source: Source, fields: ProductFields, *, sides_required: bool, ids_required: bool) -> None:
    """Raise InputError where a table lacks a column that every product needs."""
    if source.names is None:
        return
    prefix = f"{source.name}: " if source.name else ""
    found = f"found {shorten_list(source.names) or 'no columns'}"
    sides = (*fields.text_columns, *fields.image_columns)
    if sides_required and not set(sides) & set(source.names):
        raise InputError(
            f"{prefix}expected columns, one named {' or '.join(sides)}, {found}; "
            "--text-column and --image-column give other names"
        )
    if ids_required and fields.id not in source.names:
        raise InputError(f"{prefix}expected a column named {fields.id}, {found}; --id-column gives another name")


def _check_all(source: Source, checker: RecordChecker, on_error: OnError) -> ProductBatch:
    """The products of a source; those that cannot be used are handled as `on_error` says."""
    products: list[Product] = []
    positions: list[int] = []
    field_sets: list[frozenset[str]] = []
    for position, record in enumerate(source.records):
        try:
            if isinstance(record, InputError):
                raise record
            products.append(_located(source, position, checker))
        except InputError as error:
            handle(on_error, source.first + position, _source_name(source, position, checker), error)
        else:
            positions.append(source.first + position)
            field_sets.append(checker.fields(record))
    return ProductBatch(source.root, products, positions, field_sets)


def _located(source: Source, position: int, checker: RecordChecker) -> Product:
    """The product of a record; an error says where the record is."""
    try:
        return checker.product(source.first + position, source.records[position])
    except InputError as error:
        raise InputError(f"{source.where(position)}{error}") from None


def _source_name(source: Source, position: int, checker: RecordChecker) -> str:
    """The name of a record for a `Failure`: its id, else its line, else its position."""
    id_ = checker.raw_id(source.records[position])
    if id_ is not None:
        return str(id_)
    return f"line {source.lines[position]}" if source.lines else str(source.first + position)


def _warn_of_records(source: Source, checker: RecordChecker, absent_id: str, warn: OnWarning) -> None:
    """Tell of products whose id is not as the source has it, and of values that records cannot hold."""
    count = checker.without_id
    if count and absent_id:
        warn(f"no column {absent_id}: products get their positions as ids; --id-column names the column of ids")
    elif count:
        warn(f"{count} of {len(source.records)} products have no id and get their positions as ids")
    if checker.float_id is not None:
        warn(f"ids are floats, as beside a missing one: {checker.float_id} is read as {product_id(checker.float_id)}")
    for name, reasons in checker.left_out.items():
        what = "1 value is" if len(reasons) == 1 else f"{len(reasons)} values are"
        warn(f"column {name}: {what} left out, since no record can hold such: {reasons[0]}")


def _tidy_ids(products: Sequence[Product], warn: OnWarning) -> None:
    """Take away blanks around ids, and the .0 that pandas writes where one of many whole numbers is missing."""
    if any(product["id"] != product["id"].strip() for product in products):
        warn("ids have blanks around them: they are read without these")
        for product in products:
            product["id"] = product["id"].strip()
    ids = [product["id"] for product in products]
    if any(id_.endswith(".0") for id_ in ids) and all(map(_WHOLE_ID.fullmatch, ids)):
        warn("ids end in .0, as floats beside a missing id do: they are read without it")
        for product in products:
            product["id"] = product["id"].removesuffix(".0")


def _set_repeats_apart(source: Source, batch: ProductBatch, checker: RecordChecker, on_error: OnError) -> ProductBatch:
    """The batch with the products whose id an earlier one has as `repeats`; these are an error as `on_error` says.

    An id of the source goes before an equal one that a product without an id got from its position.
    """
    ids = [product["id"] for product in batch.products]
    if len(set(ids)) == len(ids):
        return batch
    if on_error == "raise":
        handle("raise", 0, "", _repeated_ids_error(source, batch))
    rows = range(len(ids))
    has_id = [checker.raw_id(source.records[_index(source, batch, row)]) is not None for row in rows]
    first_row: dict[str, int] = {}
    for row in sorted(rows, key=lambda row: not has_id[row]):
        first_row.setdefault(ids[row], row)
    repeats = [
        Repeat(
            batch.products[row],
            batch.positions[row],
            batch.fields[row],
            source.where(_index(source, batch, row)),
            _place(source, batch, row),
            _place(source, batch, first_row[ids[row]]),
        )
        for row in rows
        if first_row[ids[row]] != row
    ]
    return replace(batch.take(sorted(first_row.values())), repeats=repeats)


def _repeated_ids_error(source: Source, batch: ProductBatch) -> InputError:
    """The error that lists the ids that several products of a batch have, and where."""
    rows_of: dict[str, list[int]] = {}
    for row, product in enumerate(batch.products):
        rows_of.setdefault(product["id"], []).append(row)
    what = "lines" if source.lines else "products"
    listed = [
        f"{id_} ({what} {shorten_list(_number(source, batch, row) for row in rows)})"
        for id_, rows in rows_of.items()
        if len(rows) > 1
    ]
    prefix = f"{source.name}: " if source.name else ""
    return InputError(f"{prefix}id: expected unique ids, found more than one of {shorten_list(listed)}")


def _place(source: Source, batch: ProductBatch, row: int) -> str:
    """Where a product of a batch is in its source, in words."""
    return f"{'line' if source.lines else 'product'} {_number(source, batch, row)}"


def _number(source: Source, batch: ProductBatch, row: int) -> int:
    """The line of a product of a batch, its position where the source has no lines."""
    return source.lines[_index(source, batch, row)] if source.lines else batch.positions[row]


def _index(source: Source, batch: ProductBatch, row: int) -> int:
    """Which record of the source a product of a batch is."""
    return batch.positions[row] - source.first
