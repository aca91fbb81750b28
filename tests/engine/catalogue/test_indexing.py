from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from clipshelf import Catalogue, Engine
from clipshelf.catalogue.disk.verify import find_problems
from clipshelf.catalogue.indexing import change, index
from clipshelf.errors import InputError
from clipshelf.failures import Failure
from clipshelf.types import Product
from support.embed_counter import EmbedCounter


def test_an_interrupted_index_goes_on_where_it_stopped(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "catalogue"
    products = [{"id": str(i), "text": f"{'red ' * (i % 7)}{'shoe ' * (i // 7 + 1)}"} for i in range(300)]

    def interrupt(done: int, total: int | None) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        index(engine, products, out, progress=interrupt)
    with (out / f"journal.{engine.fingerprint}").open("ab") as file:
        file.write(b"torn")
    counter = EmbedCounter(engine, monkeypatch)
    catalogue = index(engine, products, out)
    assert counter.texts == [product["text"] for product in products[128:]]
    np.testing.assert_array_equal(catalogue.embeddings, Catalogue.build(engine, products).embeddings)
    assert not list(out.glob("journal.*")) and not find_problems(out)
    counter.texts.clear()
    index(engine, [*products, {"id": "new", "text": "warm"}], out)
    assert counter.texts == ["warm"] and len(Catalogue.load(out)) == 301


def test_index_reports_what_it_leaves_out(engine: Engine, tmp_path: Path) -> None:
    out, failures = str(tmp_path / "catalogue"), list[Failure]()
    products: list[Product] = [{"text": " "}, {"id": "a", "text": "red"}, {"id": "b", "image": "nowhere.png"}]
    catalogue = index(engine, products, out, on_error=failures.append)
    assert catalogue.ids == Catalogue.load(out).ids == ["a"]
    assert [(failure.index, failure.source) for failure in failures] == [(0, "0"), (2, "b")]
    with pytest.raises(InputError, match=r"product 'b': .*nowhere"):
        index(engine, products[1:], out)
    assert change(out, lambda old: old.remove(["a"])).ids == Catalogue.load(out).ids == []
