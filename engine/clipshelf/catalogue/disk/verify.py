"""The full check of a catalogue on disk: the SHA-256 of every file, and whether the files agree with each other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import wraps
from pathlib import Path

import numpy as np

from clipshelf.catalogue.content_keys import id_keys, parts_key
from clipshelf.catalogue.disk.generation import Generation
from clipshelf.catalogue.disk.manifest import CatalogueManifest, read_manifest
from clipshelf.catalogue.lexical.word_index import WordIndex
from clipshelf.catalogue.product_sides import pictures_of, texts_of
from clipshelf.catalogue.statistics import IMAGE, SIDES, Statistics
from clipshelf.catalogue.typed_columns.columns import columns_of
from clipshelf.errors import CatalogueError
from clipshelf.files import FileRecord


def find_problems(folder: Path) -> list[str]:
    """Check the catalogue in `folder` and return its problems, one line each; an empty list means that it is intact."""
    try:
        manifest = read_manifest(folder)
    except CatalogueError as error:
        return [str(error)]
    problems = []
    files = {pair for each in manifest.generations for pair in each.files.items()}
    for name, record in sorted(files, key=lambda pair: pair[0]):
        try:
            found: object = FileRecord.of(folder / name)
        except OSError as error:
            found = error.strerror
        if found != record:
            problems.append(f"{folder / name}: expected {record}, found {found}")
    if problems:
        return problems
    return [problem for each in manifest.generations for problem in _problems_of(folder, each)]


def _problems_of(folder: Path, manifest: CatalogueManifest) -> list[str]:
    """The problems of one of the folder's generations, whose files have the right bytes."""
    try:
        generation = Generation(folder, manifest)
    except (CatalogueError, OSError) as error:
        return [str(error)]
    checks = (_compare_ids, _compare_columns, _compare_words, _compare_parts, _compare_statistics)
    return [problem for check in checks for problem in check(generation)]


def _problems(check: Callable[[Generation], Iterator[str]]) -> Callable[[Generation], list[str]]:
    """Make a check list what it yields, each with the folder before it, and what it raises."""

    @wraps(check)
    def listed(generation: Generation) -> list[str]:
        problems = []
        try:
            problems += [f"{generation.folder}: {problem}" for problem in check(generation)]
        except CatalogueError as error:
            problems.append(str(error))
        except (ValueError, TypeError, ArithmeticError, RecursionError) as error:
            problems.append(f"{generation.folder}: expected values as a catalogue has them, found others: {error}")
        return problems

    return listed


@_problems
def _compare_ids(generation: Generation) -> Iterator[str]:
    ids = generation.ids
    if any(product["id"] != id_ for product, id_ in zip(generation.products, ids, strict=True)):
        yield "products and ids: expected the same ids in the same order, found others"
    if len(set(ids)) < len(ids):
        yield "ids: expected unique ids, found some twice"
    if not np.array_equal(generation.keys[:, 0], id_keys(ids)):
        yield "keys: expected those of the ids, found others"


@_problems
def _compare_columns(generation: Generation) -> Iterator[str]:
    # An older catalogue has no declarations; its kinds decide what its columns are.
    declared = {**generation.kinds, **generation.manifest.declarations}
    columns = columns_of(generation.products, declared)
    if {name: column.kind for name, column in columns.items()} != generation.kinds:
        yield "columns: expected the fields of the products, found others"
    for name, column in columns.items():
        if column.kind != "mixed" and name in generation.kinds and not column.equals(generation.column(name)):
            yield f"column {name}: expected the values of the products, found others"


@_problems
def _compare_words(generation: Generation) -> Iterator[str]:
    words = generation.words
    if words is not None and not words.equals(WordIndex.of(generation.products, generation.word_columns)):
        yield "words: expected those of the products, found others"


@_problems
def _compare_parts(generation: Generation) -> Iterator[str]:
    parts = generation.parts
    matrix = generation.embeddings.reshape(-1, 2, generation.dim)
    records = generation.records(parts.owners[:, 0])
    for position, ((row, side), record) in enumerate(zip(parts.owners.tolist(), records, strict=True)):
        span = parts.span(position)
        pooled = parts.coefficients[span] @ parts.embeds[span].astype(np.float64)
        if not np.allclose(pooled, matrix[row, side], atol=1e-6):
            yield f"parts of product {record['id']}: expected embeddings that sum to its {SIDES[side]}, found others"
        listed = (pictures_of(record) or parts.keys[span]) if side == IMAGE else texts_of(record)
        if len(listed) != span.stop - span.start:
            yield f"parts of product {record['id']}: expected one for each {SIDES[side]} of its record, found others"
        if generation.keys[row, 1 + side].tobytes() != parts_key(parts.keys[span], parts.falloff):
            yield f"keys of product {record['id']}: expected that of its parts, found another"


@_problems
def _compare_statistics(generation: Generation) -> Iterator[str]:
    if not generation.statistics.is_close(Statistics.of(generation.embeddings)):
        yield "statistics: expected those of the embeddings, found others"
