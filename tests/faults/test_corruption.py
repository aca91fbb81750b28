from __future__ import annotations

import random
import shutil
from pathlib import Path

import crash
import numpy as np
import pytest
from clipshelf import Catalogue, Engine
from clipshelf.catalogue.disk import generation
from clipshelf.catalogue.disk.manifest import read_manifest
from clipshelf.catalogue.disk.verify import find_problems
from clipshelf.cli.main import main
from clipshelf.errors import CatalogueError


@pytest.fixture
def shop(engine: Engine, tmp_path: Path) -> Path:
    folder = tmp_path / "shop"
    crash.build(engine, folder)
    return folder


def flip(file: Path, position: int, bit: int) -> None:
    content = bytearray(file.read_bytes())
    content[position] ^= 1 << bit
    file.write_bytes(content)


def random_bits(folder: Path, seed: int, count: int) -> list[tuple[str, int, int]]:
    """Random bits of random files, the small ones as often as the large."""
    generator = random.Random(seed)
    names = ["manifest.json", *read_manifest(folder).files]
    chosen = [generator.choice(names) for _ in range(count)]
    return [(name, generator.randrange((folder / name).stat().st_size), generator.randrange(8)) for name in chosen]


def test_a_flipped_bit_anywhere_is_an_error_at_once(shop: Path, tmp_path: Path) -> None:
    for name, position, bit in random_bits(shop, 0, 300):
        flip(shop / name, position, bit)
        with pytest.raises(CatalogueError, match=name.split(".")[0]):
            Catalogue.load(shop)
        assert find_problems(shop)
        flip(shop / name, position, bit)
    assert not find_problems(shop)


def test_in_large_files_it_is_an_error_on_use_and_never_a_wrong_answer(
    shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = crash.State.of(shop)
    monkeypatch.setattr(generation, "_COMPARED_ON_OPEN", 0)
    for name, position, bit in random_bits(shop, 1, 150):
        flip(shop / name, position, bit)
        with pytest.raises(CatalogueError):
            catalogue = Catalogue.load(shop)
            assert [catalogue.row(f"p{i}") for i in range(0, 200, 50)] == [0, 50, 100, 150]
            assert crash.State.of(shop) == expected
        with pytest.raises(CatalogueError):
            Catalogue.load(shop, verify=True)
        flip(shop / name, position, bit)
    assert crash.State.of(shop) == expected


def test_a_flipped_bit_past_the_first_block_is_found(engine: Engine, tmp_path: Path) -> None:
    shop = tmp_path / "shop"
    Catalogue.build(engine, crash.products(0, 5000)).save(shop)
    file = shop / "embeddings.1.npy"
    flip(file, file.stat().st_size - 5, 7)
    with pytest.raises(CatalogueError, match=r"embeddings\.1\.npy: expected the bytes 131072 to 160128 as they were"):
        Catalogue.load(shop)


@pytest.mark.parametrize("damage", ["cut", "longer", "gone", "swapped"])
def test_other_damage_is_an_error_too(shop: Path, damage: str) -> None:
    for name in read_manifest(shop).files:
        file, copy = shop / name, shop.parent / "copy"
        shutil.copy(file, copy)
        if damage == "cut":
            file.write_bytes(file.read_bytes()[:-1])
        elif damage == "longer":
            file.write_bytes(file.read_bytes() + b"\0")
        elif damage == "gone":
            file.unlink()
        else:
            file.write_bytes(bytes(file.stat().st_size))
        with pytest.raises(CatalogueError, match=name.split(".")[0]):
            Catalogue.load(shop)
        assert name in find_problems(shop)[0]
        shutil.copy(copy, file)
    assert not find_problems(shop)


def test_an_array_of_python_objects_is_refused(shop: Path) -> None:
    catalogue = Catalogue.load(shop)
    with pytest.raises(ValueError, match="allow_pickle"):
        np.save(shop / "x.npy", np.array([object()]), allow_pickle=False)
    catalogue._contents.__dict__["keys"] = np.zeros((200, 3, 16), np.float32)
    catalogue.save(shop)
    with pytest.raises(CatalogueError, match=r"keys\.2\.npy: expected uint8 \(200, 3, 16\), found float32"):
        Catalogue.load(shop).row("p1")


def test_verify_says_what_is_wrong(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(shop)]) == 0
    assert "all is well with 200 products" in capsys.readouterr().out
    flip(shop / "ids.1.json", 3, 0)
    flip(shop / "keys.1.npy", 300, 0)
    assert main(["verify", str(shop)]) == 1
    output = capsys.readouterr().err
    assert "ids.1.json" in output and "keys.1.npy" in output and "sha256" in output


def test_verify_sees_what_files_say_against_each_other(engine: Engine, shop: Path) -> None:
    catalogue = Catalogue.load(shop)
    catalogue._contents.ids[7] = "x"
    catalogue.save(shop)
    problems = find_problems(shop)
    assert len(problems) == 2 and "expected the same ids" in problems[0] and "expected those of the ids" in problems[1]
