from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from clipshelf import Engine
from clipshelf.catalogue.disk.save import save_generation
from clipshelf.catalogue.disk.verify import find_problems
from clipshelf.catalogue.embedding import embed_products
from clipshelf.catalogue.products import ProductBatch
from clipshelf.catalogue.statistics import Statistics


class _Changed:
    """A catalogue's content with some parts of it replaced."""

    def __init__(self, contents: Any, **parts: Any) -> None:
        self._contents, self._parts = contents, parts

    def __len__(self) -> int:
        return len(self._contents)

    def __getattr__(self, name: str) -> Any:
        return self._parts[name] if name in self._parts else getattr(self._contents, name)


def test_verify_names_files_that_contradict_each_other(engine: Engine, tmp_path: Path) -> None:
    products = [{"id": f"p{i}", "text": f"red {'shoe ' * (i % 3)}", "n": i, "s": "ab"[i % 2]} for i in range(20)]
    contents = embed_products(engine, ProductBatch(tmp_path, products, [*range(20)]), root=tmp_path).contents
    numbers, texts = contents.column("n"), contents.column("s")
    embeddings, keys = contents.embeddings.copy(), contents.keys.copy()
    embeddings[7, 5], keys[3, 0] = np.nan, keys[4, 0]
    twice, shop = [*contents.ids[:-1], "p0"], tmp_path / "shop"
    shop.mkdir()
    cases: list[tuple[dict[str, Any], str | None]] = [
        ({}, None),
        ({"ids": [*contents.ids[:-1], "x"]}, "products and ids: expected the same ids in the same order, found others"),
        ({"ids": twice}, "ids: expected unique ids, found some twice"),
        ({"keys": keys}, "keys: expected those of the ids, found others"),
        ({"kinds": {"n": "number"}}, "columns: expected the fields of the products, found others"),
        ({"column": {"n": replace(numbers, codes=numbers.codes[::-1]), "s": texts}.get}, "column n: expected the"),
        ({"column": {"n": numbers, "s": replace(texts, values=["a", "c"])}.get}, "column s: expected the values of"),
        ({"statistics": Statistics.none(engine.dim)}, "statistics: expected those of the embeddings, found others"),
        ({"embeddings": embeddings}, ".npy: expected finite numbers, found others from row 0 on"),
    ]
    for parts, problem in cases:
        changed: Any = _Changed(contents, **parts)
        save_generation(shop, changed, fingerprint="0f", model=None, root=tmp_path)
        found = find_problems(shop)
        assert not found if problem is None else any(problem in line for line in found), (problem, found)
