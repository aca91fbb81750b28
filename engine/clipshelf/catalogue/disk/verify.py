"""The full check of a catalogue on disk: the SHA-256 of every file, and whether the files agree with each other."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from clipshelf.catalogue.columns import columns_of
from clipshelf.catalogue.content_keys import id_keys
from clipshelf.catalogue.disk.generation import Generation
from clipshelf.catalogue.disk.manifest import read_manifest
from clipshelf.catalogue.statistics import Statistics
from clipshelf.errors import CatalogueError
from clipshelf.files import FileRecord

_ROWS_PER_CHECK = 1 << 16


def find_problems(folder: Path) -> list[str]:
    """Check the catalogue in `folder` and return its problems, one line each; an empty list means that it is intact."""
    try:
        files = read_manifest(folder).files
    except CatalogueError as error:
        return [str(error)]
    problems = []
    for name, record in files.items():
        try:
            found: object = FileRecord.of(folder / name)
        except OSError as error:
            found = error.strerror
        if found != record:
            problems.append(f"{folder / name}: expected {record}, found {found}")
    if problems:
        return problems
    try:
        return _contradictions(Generation.open(folder))
    except CatalogueError as error:
        return [str(error)]


def _contradictions(generation: Generation) -> list[str]:
    """How the files of a generation, each of them unchanged, contradict each other."""
    problems = []
    ids, products = generation.ids, generation.products
    columns = columns_of(products)
    if any(product.get("id") != id_ for product, id_ in zip(products, ids, strict=True)):
        problems.append("products and ids: expected the same ids in the same order, found others")
    if len(set(ids)) < len(ids):
        problems.append("ids: expected unique ids, found some twice")
    if not np.array_equal(generation.keys[:, 0], id_keys(ids)):
        problems.append("keys: expected those of the ids, found others")
    if {name: column.kind for name, column in columns.items()} != generation.kinds:
        problems.append("columns: expected the fields of the products, found others")
    for name, column in columns.items():
        if column.kind != "mixed" and name in generation.kinds and not column.equals(generation.column(name)):
            problems.append(f"column {name}: expected the values of the products, found others")
    if not generation.statistics.is_close(Statistics.of(generation.embeddings)):
        problems.append("statistics: expected those of the embeddings, found others")
    problems += [
        f"embeddings: expected finite numbers, found others from row {start} on"
        for start in range(0, len(ids), _ROWS_PER_CHECK)
        if not np.isfinite(generation.embeddings[start : start + _ROWS_PER_CHECK]).all()
    ]
    return [f"{generation.folder}: {problem}" for problem in problems]
