from __future__ import annotations

import copy
import multiprocessing
import pickle
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from clipshelf import Catalogue, Engine
from clipshelf.catalogue.disk.manifest import read_manifest
from clipshelf.catalogue.reading.readers import ProductFields
from clipshelf.errors import CatalogueError
from clipshelf.types import Product
from support import tiny
from support.copies import WAYS

PRODUCTS: list[Product] = [
    {"id": f"p{i}", "text": f"red {'shoe ' * (i % 5)}", "price": i, "tags": ["new", "sale"][: i % 3]} for i in range(40)
]


@pytest.fixture
def saved(engine: Engine, tmp_path: Path) -> Path:
    folder = tmp_path / "catalogue"
    Catalogue.build(engine, PRODUCTS).save(folder)
    return folder


def assert_equal(one: Catalogue, other: Catalogue) -> None:
    assert one.ids == other.ids and list(one.products) == list(other.products)
    assert (one.fingerprint, one.model, one.root) == (other.fingerprint, other.model, other.root)
    np.testing.assert_array_equal(one.embeddings, other.embeddings)
    np.testing.assert_array_equal(one.statistics.means, other.statistics.means)
    np.testing.assert_array_equal(one.present, other.present)
    where = {"price": {"<": 9}, "tags": {"contains": "new"}}
    assert one.mask(where).tolist() == other.mask(where).tolist()


@pytest.mark.parametrize("way", WAYS)
def test_every_catalogue_survives(engine: Engine, saved: Path, way: type) -> None:
    built, loaded = Catalogue.build(engine, PRODUCTS), Catalogue.load(saved)
    changed = loaded.update(engine, [{"id": "p3", "text": "blue", "price": 99}]).remove(["p0"])
    for catalogue in (built, loaded, changed):
        for _ in range(2):  # with and without what is computed on first use
            travelled = way(catalogue)
            assert travelled is not catalogue
            assert_equal(travelled, catalogue)


def test_a_loaded_catalogue_travels_as_its_folder(engine: Engine, saved: Path) -> None:
    loaded, changed = Catalogue.load(saved), Catalogue.load(saved).remove(["p0"])
    assert loaded.present.all(axis=0).tolist() == [False, True]
    assert len(pickle.dumps(loaded)) < 5000 < len(pickle.dumps(changed))
    changed.mask({"price": 3})
    before = len(pickle.dumps(changed))
    assert changed.present.any() and changed.row("p3") == 2 and changed.ids and len(pickle.dumps(changed)) == before


@pytest.mark.parametrize("way", WAYS)
def test_an_unchanged_matrix_is_not_written_again(engine: Engine, saved: Path, way: type) -> None:
    catalogue: Catalogue = way(Catalogue.load(saved))
    catalogue.update(engine, [{**PRODUCTS[3], "price": 99}]).save(saved)
    assert "embeddings.1.npy" in read_manifest(saved).files and "products.2.jsonl" in read_manifest(saved).files


def test_another_generation_in_the_folder_is_refused(engine: Engine, saved: Path) -> None:
    loaded = Catalogue.load(saved)
    pickled = pickle.dumps(loaded)
    Catalogue.load(saved).remove(["p0"]).save(saved)
    model = engine.fingerprint
    message = f"expected generation 1 of the model {model}, which was pickled, found generation 2 of the model {model}"
    with pytest.raises(CatalogueError, match=message):
        pickle.loads(pickled)
    assert copy.copy(loaded).ids == copy.deepcopy(loaded).ids == loaded.ids and len(loaded) == 40


def test_another_catalogue_in_the_folder_is_refused(engine: Engine, saved: Path, tmp_path: Path) -> None:
    pickled = pickle.dumps(Catalogue.load(saved))
    other = Engine.load(tiny.write_artifact(tmp_path / "other", seed=1))
    for name, embedder, found in (("new", other, other.fingerprint), ("less", engine, engine.fingerprint)):
        saved.rename(tmp_path / f"before-{name}")
        Catalogue.build(embedder, PRODUCTS[:7]).save(saved)
        with pytest.raises(CatalogueError, match=f"found (another )?generation 1 of the model {found}; load"):
            pickle.loads(pickled)
    saved.rename(tmp_path / "moved")
    with pytest.raises(CatalogueError, match="expected a catalogue folder"):
        pickle.loads(pickled)


@pytest.mark.parametrize("way", WAYS)
def test_a_changed_catalogue_still_sees_that_somebody_else_saved(engine: Engine, saved: Path, way: type) -> None:
    changed = Catalogue.load(saved).remove(["p1"])
    before = pickle.dumps(changed)
    travelled: Catalogue = way(changed)
    travelled.save(saved)
    assert len(Catalogue.load(saved)) == 39
    for late in (way(changed), pickle.loads(before)):
        with pytest.raises(CatalogueError, match="expected generation 1, which this catalogue came from, found 2"):
            late.save(saved)
        late.save(saved.parent / "elsewhere")


def count(catalogue: Catalogue, where: str) -> tuple[int, list[Product]]:
    """What a worker does with a catalogue."""
    mask = catalogue.mask(where)
    return int(mask.sum()), catalogue.records(np.flatnonzero(mask)[:2])


def test_spawned_workers_need_nothing_special(engine: Engine, saved: Path) -> None:
    loaded = Catalogue.load(saved)
    changed = loaded.remove(["p3"])
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        results = list(pool.map(count, [loaded, changed], ["price<5"] * 2))
    assert results == [(5, PRODUCTS[:2]), (4, PRODUCTS[:2])]


def test_values_survive() -> None:
    fields = ProductFields(text="title")
    assert pickle.loads(pickle.dumps(fields)) == copy.deepcopy(fields) == fields
