from __future__ import annotations

from pathlib import Path

import pytest
from clipshelf import Catalogue, Engine
from clipshelf.catalogue.disk.manifest import read_manifest
from clipshelf.catalogue.disk.verify import find_problems
from clipshelf.errors import CatalogueError


def test_a_save_that_fails_leaves_the_old_state(engine: Engine, shop: Path, tmp_path: Path) -> None:
    out = tmp_path / "catalogue"
    Catalogue.build(engine, shop).save(out)
    broken = Catalogue.build(engine, [{"text": "red", "tag": "x"}])
    broken.products[0]["tag"] = object()
    with pytest.raises(TypeError, match="object is not JSON serializable"):
        broken.save(out, allow_shrink=1)
    assert Catalogue.load(out).ids == ["r", "g", "b"]
    assert {path.name for path in out.iterdir()} == {"manifest.json", ".lock", *read_manifest(out).files}


def test_a_folder_of_something_else_is_left_alone(engine: Engine, shop: Path) -> None:
    with pytest.raises(CatalogueError, match="expected a new, an empty or a catalogue folder, found other files"):
        Catalogue.build(engine, shop).save(shop.parent)


def test_a_matrix_that_stays_the_same_is_not_written_again(engine: Engine, shop: Path, tmp_path: Path) -> None:
    out = tmp_path / "catalogue"
    Catalogue.build(engine, shop).save(out)
    Catalogue.load(out).update(engine, [{"id": "b", "text": "blue", "price": 3}]).save(out)
    files = read_manifest(out).files
    assert "embeddings.1.npy" in files and "products.2.jsonl" in files
    assert Catalogue.load(out).mask({"price": 3}).tolist() == [False, False, True]
    Catalogue.load(out).remove(["r"]).save(out)
    assert "embeddings.3.npy" in read_manifest(out).files and not find_problems(out)
