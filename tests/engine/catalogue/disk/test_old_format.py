"""Catalogues that earlier releases saved; tests/reference/old_catalogue is one."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from clipshelf import Catalogue
from clipshelf.catalogue.disk.manifest import read_manifest
from clipshelf.catalogue.disk.verify import find_problems

OLD = Path(__file__).parents[3] / "reference/old_catalogue"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    folder = tmp_path / "catalogue"
    shutil.copytree(OLD, folder)
    return folder


def test_it_opens_and_answers(old: Path) -> None:
    catalogue = Catalogue.load(old, verify=True)
    assert catalogue.ids == [f"p{i}" for i in range(20)] and catalogue.row("p7") == 7
    assert np.flatnonzero(catalogue.mask("price<3")).tolist() == [0, 1, 2]
    assert np.flatnonzero(catalogue.mask("brand=b and price<4")).tolist() == [1, 3]
    assert np.flatnonzero(catalogue.mask("tags contains sale")).tolist() == list(range(2, 20, 3))
    assert catalogue.root == Path("/shop") and catalogue.model is None
    manifest = read_manifest(old)
    assert manifest.relative_root is manifest.relative_model is None and manifest.declarations == {}


def test_a_save_writes_it_anew(old: Path) -> None:
    catalogue = Catalogue.load(old)
    expected = catalogue.mask("price>5 and tags contains new")[1:]
    catalogue.remove(["p0"]).save(old)
    names = [name.split(".")[0] for name in read_manifest(old).files]
    assert "columns" in names and not [name for name in names if name.startswith("column0")]
    assert {path.name for path in old.iterdir()} == {"manifest.json", ".lock", *read_manifest(old).files}
    assert Catalogue.load(old).mask("price>5 and tags contains new").tolist() == expected.tolist()
    assert read_manifest(old).declarations["price"] == "number" and not find_problems(old)
