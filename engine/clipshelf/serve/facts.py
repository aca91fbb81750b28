"""What the catalogue has: the columns with their ranges and frequent values, for pages that offer filters."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields

import numpy as np

from clipshelf.catalogue.typed_columns.columns import Column
from clipshelf.model.engine import Engine
from clipshelf.recommend.weights import Weights
from clipshelf.serve import schemas
from clipshelf.serve.schemas import CatalogueFacts, ColumnFacts, FrequentValue, LimitFacts, ModelFacts, WeightFacts
from clipshelf.serve.settings import Settings
from clipshelf.serve.shelf import Shelf
from clipshelf.types import Rows

# An answer fits badly where its best relevance is lower; docs/quality.md measures relevance.
RELEVANCE_CUT = 0.9
_FREQUENT = 100  # values of a column


def model_id(engine: Engine) -> str:
    """The name of a model for clients."""
    return "clipshelf-default" if engine.is_default else engine.artifact.path.resolve().name


def catalogue_facts(shelf: Shelf, settings: Settings) -> CatalogueFacts:
    """Describe a generation; reads all of its columns."""
    engine, weights = shelf.recommender.engine, shelf.recommender.weights
    return CatalogueFacts(
        products=len(shelf.catalogue),
        generation=shelf.generation,
        fingerprint=engine.fingerprint,
        model=ModelFacts(
            id=model_id(engine),
            dim=engine.dim,
            precision=engine.precision,
            image_size=engine.artifact.manifest.image.size,
        ),
        columns=list(_columns(shelf)),
        weights=[WeightFacts(field.name, getattr(weights, field.name)) for field in fields(Weights)],
        relevance_cut=RELEVANCE_CUT,
        limits=LimitFacts(
            k=schemas.MAX_K,
            body_bytes=settings.body_limit,
            text_characters=schemas.MAX_TEXT,
            texts=schemas.MAX_TEXTS,
            images=schemas.MAX_IMAGES,
            queries=schemas.MAX_QUERIES,
        ),
        writable=settings.writable,
    )


def _columns(shelf: Shelf) -> Iterator[ColumnFacts]:
    contents = shelf.catalogue.contents
    for name, kind in contents.kinds.items():
        if kind == "mixed":
            yield ColumnFacts(name, kind, sum(product.get(name) is not None for product in contents.products))
            continue
        column = contents.column(name)
        counts = _counts(column)
        products = len(np.unique(column.rows)) if column.is_list else int(counts.sum())
        if kind in ("number", "numbers", "date"):
            ends = (column.values[0], column.values[-1]) if column.values else ()
            yield ColumnFacts(name, kind, products, len(column.values), *ends)
        else:
            yield ColumnFacts(name, kind, products, len(column.values), values=_frequent(column, counts))


def _counts(column: Column) -> Rows:
    """(V,) int64: products that have each value."""
    if column.is_list:
        return np.diff(column.starts).astype(np.int64)
    return np.bincount(column.codes[column.codes >= 0], minlength=len(column.values)).astype(np.int64)


def _frequent(column: Column, counts: Rows) -> list[FrequentValue]:
    """The most frequent values, most frequent first."""
    order = np.argsort(-counts, kind="stable")[:_FREQUENT].tolist()
    return [FrequentValue(column.values[position], int(counts[position])) for position in order]
