"""Catalogues of made-up embeddings, for what ranks and explains them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from clipshelf import Catalogue, Engine
from clipshelf.catalogue.contents import MemoryContents, contents_of_rows
from clipshelf.recommend.answers import Contribution, Recommendation
from clipshelf.types import FloatArray, Product

KINDS = 6


def clustered(count: int, dim: int, *, seed: int = 0) -> FloatArray:
    """(count, 2 dim) unit sides: product i is of kind i % KINDS, each side has a cone of its own, as CLIP's have."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((KINDS, dim))
    cones = 3 * rng.standard_normal((2, dim)) * np.array([[1.0], [0.5]])
    sides = centres[np.arange(count) % KINDS, None] + cones + 0.7 * rng.standard_normal((count, 2, dim))
    sides /= np.linalg.norm(sides, axis=2, keepdims=True)
    matrix: FloatArray = sides.reshape(count, 2 * dim).astype(np.float32)
    return matrix


def shelf(engine: Engine, matrix: FloatArray) -> Catalogue:
    """A catalogue of these embeddings; ids are positions."""
    return Catalogue(contents_of_rows(matrix), engine.fingerprint, Path())


def shelf_with(engine: Engine, matrix: FloatArray, records: Sequence[Product]) -> Catalogue:
    """A catalogue of these embeddings with fields beside the ids, which are positions."""
    products = [{"id": str(row), **record} for row, record in enumerate(records)]
    keys = contents_of_rows(matrix).keys
    return Catalogue(MemoryContents(products, matrix, keys), engine.fingerprint, Path())


def made_up(product: Product, score: float, relevance: float, *parts: Contribution) -> Recommendation:
    """An item of an answer, made up."""
    return Recommendation(product["id"], score, relevance, product, parts)
