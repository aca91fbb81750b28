"""What columns have: of one catalogue, and of parts of it, with the same result."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from clipshelf.catalogue.column_summaries import ColumnSummary, count_values, summarise
from clipshelf.catalogue.contents import MemoryContents
from clipshelf.types import Product

PRODUCTS: list[Product] = [
    {"price": 3.5, "brand": "b", "tags": ["x", "y"], "sold": "2026-05-01", "new": True, "any": {"x": 1}},
    {"price": 3.5, "brand": "a", "tags": ["y"], "sold": "2026-04-01", "new": False, "any": {"x": 2}},
    {"price": 1.0, "brand": "b", "tags": [], "sold": None, "new": True, "any": None},
    {"price": None, "brand": "c", "tags": ["z", "y"], "sold": "2026-06-01", "new": None, "any": {"y": 1}},
]


def contents(products: list[Product]) -> MemoryContents:
    """Products with the declarations of all of them, as shards have them."""
    declared = {"price": "number", "brand": "text", "tags": "texts", "sold": "date", "new": "bool", "any": "mixed"}
    rows = len(products)
    return MemoryContents(products, np.zeros((rows, 2), np.float32), np.zeros((rows, 3, 16), np.uint8), declared)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("price", ColumnSummary("price", "number", 3, 2, (1.0, 3.5))),
        ("brand", ColumnSummary("brand", "text", 4, 3, frequent=(("b", 2), ("a", 1), ("c", 1)))),
        ("tags", ColumnSummary("tags", "texts", 3, 3, frequent=(("y", 3), ("x", 1), ("z", 1)))),
        ("sold", ColumnSummary("sold", "date", 3, 3, ("2026-04-01", "2026-06-01"))),
        ("new", ColumnSummary("new", "bool", 3, 2, frequent=((True, 2), (False, 1)))),
        ("any", ColumnSummary("any", "mixed", 3)),
    ],
)
@pytest.mark.parametrize("parts", [1, 2, 4])
def test_a_column_is_summarised_from_any_parts(name: str, expected: Any, parts: int) -> None:
    pieces = [contents(PRODUCTS[start::parts]) for start in range(parts)]
    counts = [count_values(piece, name) for piece in pieces]
    assert summarise(name, contents(PRODUCTS).kinds[name], counts) == expected
