"""The examples of docs/filters.md."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import numpy as np
import pytest
from clipshelf import Catalogue, Engine
from clipshelf.types import Product

PAGE = (Path(__file__).parents[3] / "docs/filters.md").read_text()
EXAMPLES = PAGE[PAGE.index("## Examples") :]
PRODUCTS: list[Product] = [json.loads(line) for line in EXAMPLES.splitlines() if line.startswith("{")]
ROWS = re.findall(r"^\| (?:`(.+?)` )?\| `(\{.+?\})` \| (.+) \|$", EXAMPLES, re.MULTILINE)


@pytest.mark.parametrize(("words", "where", "ids"), ROWS)
def test_an_example_finds_the_products_that_it_names(engine: Engine, words: str, where: str, ids: str) -> None:
    catalogue = Catalogue.build(engine, PRODUCTS)
    for condition in filter(None, (words, ast.literal_eval(where))):
        rows = np.flatnonzero(catalogue.mask(condition))
        assert ", ".join(product["id"] for product in catalogue.records(rows)) == ids


def test_every_example_is_run() -> None:
    assert len(PRODUCTS) == 4 and len(ROWS) == EXAMPLES.count("\n|") - 2 == 21
