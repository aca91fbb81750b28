"""The examples of other stores, on the embedded engines of their databases."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import pytest
from clipshelf import Engine, Recommender
from clipshelf.recommend.recommender import StoreRecommender
from support import tiny
from support.build_cache import CHECKOUT
from support.same_answers import DIM, QUERIES, assert_same, union

STORES = CHECKOUT / "examples" / "stores"


@pytest.mark.parametrize(
    ("module", "name", "package"),
    [("qdrant_store", "QdrantStore", "qdrant_client"), ("milvus_store", "MilvusStore", "milvus_lite")],
)
def test_a_store_has_the_answers_of_the_catalogue(
    module: str, name: str, package: str, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip(package)
    monkeypatch.setattr(sys, "path", [str(STORES), *sys.path])
    make: Any = getattr(importlib.import_module(module), name)
    engine = Engine.load(tiny.write_artifact(tmp_path_factory.mktemp("narrow"), dim=DIM))
    # Without equal products, among which each database has an order of its own.
    catalogue = union(engine, 90, seed=11, duplicates=0, words=())
    assert_same(Recommender(engine, catalogue), StoreRecommender(engine, make(catalogue)), QUERIES)
