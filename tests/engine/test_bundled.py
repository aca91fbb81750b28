from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from clipshelf import bundled
from clipshelf.errors import ClipshelfError


@pytest.mark.parametrize(
    ("folder", "file"),
    [
        (bundled.model_path, "manifest.json"),
        (bundled.shelf_path, "products.csv"),
        (bundled.queries_path, "sneaker.jpg"),
        (bundled.host_path, "include/clipshelf.h"),
    ],
)
def test_the_folders_of_a_checkout_are_there(folder: Callable[[], Path], file: str) -> None:
    assert (folder() / file).is_file()


def test_the_default_model_is_known_by_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert bundled.is_bundled_model(bundled.model_path()) and not bundled.is_bundled_model(tmp_path)
    monkeypatch.chdir(bundled.model_path().parent)
    assert bundled.is_bundled_model(Path(bundled.model_path().name))


def test_a_folder_that_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package, checkout = tmp_path / "data/shelf", tmp_path / "examples/shelf"
    monkeypatch.setattr(bundled, "_SHELF", (package, checkout))
    message = f"expected {package} in an installed package or {checkout} in a checkout, found neither"
    with pytest.raises(ClipshelfError, match=re.escape(message)):
        bundled.shelf_path()
    checkout.mkdir(parents=True)
    assert bundled.shelf_path() == checkout
    package.mkdir(parents=True)
    assert bundled.shelf_path() == package
