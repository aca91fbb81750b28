"""What the catalogue has: the columns with their ranges and frequent values, for pages that offer filters."""

from __future__ import annotations

from dataclasses import fields

from msgspec import UNSET

from clipshelf.catalogue.column_summaries import ColumnSummary
from clipshelf.model.engine import Engine
from clipshelf.recommend.weights import Weights
from clipshelf.serve import schemas
from clipshelf.serve.schemas import CatalogueFacts, ColumnFacts, FrequentValue, LimitFacts, ModelFacts, WeightFacts
from clipshelf.serve.settings import Settings
from clipshelf.serve.shelf import Shelf

# An answer fits badly where its best relevance is lower; docs/quality.md measures relevance.
RELEVANCE_CUT = 0.9


def model_id(engine: Engine) -> str:
    """The name of a model for clients."""
    return "clipshelf-default" if engine.is_default else engine.artifact.path.resolve().name


def catalogue_facts(shelf: Shelf, settings: Settings) -> CatalogueFacts:
    """Describe a generation; reads all of its columns."""
    engine, weights = shelf.recommender.engine, shelf.recommender.weights
    return CatalogueFacts(
        products=len(shelf),
        generation=shelf.generation,
        fingerprint=engine.fingerprint,
        model=ModelFacts(
            id=model_id(engine),
            dim=engine.dim,
            precision=engine.precision,
            image_size=engine.artifact.manifest.image.size,
        ),
        columns=list(map(_column_facts, shelf.summarise_columns())),
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


def _column_facts(column: ColumnSummary) -> ColumnFacts:
    least, greatest = column.range or (UNSET, UNSET)
    values = column.frequent
    return ColumnFacts(
        column.name,
        column.kind,
        column.products,
        UNSET if column.distinct is None else column.distinct,
        least,
        greatest,
        UNSET if values is None else [FrequentValue(value, products) for value, products in values],
    )
