from __future__ import annotations

import gc
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import crash
import pytest
from clipshelf import Catalogue, Engine
from clipshelf.catalogue.disk.verify import find_problems
from clipshelf.errors import CatalogueError
from clipshelf.files import locked


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if (
        shutil.which("mount") is None
        or subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)], check=False, capture_output=True
        ).returncode
    ):
        pytest.skip("mounting a tmpfs is not allowed here")
    yield folder
    gc.collect()  # a catalogue in a reference cycle, such as that of an exception, still maps files of the folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_an_error_and_the_old_state_stays(engine: Engine, small_disk: Path) -> None:
    shop = small_disk / "shop"
    crash.build(engine, shop)
    before, files = crash.State.of(shop), sorted(path.name for path in shop.iterdir())
    with pytest.raises(CatalogueError, match="No space left on device"):
        Catalogue.load(shop).add(engine, crash.products(200, 2000)).save(shop)
    assert sorted(path.name for path in shop.iterdir()) == files
    assert crash.State.of(shop) == before and not find_problems(shop)
    for free in range(64, 0, -8):
        fill(small_disk / "ballast", free << 10)
        removed = str(Catalogue.load(shop).ids[0])
        try:
            Catalogue.load(shop).remove([removed]).save(shop)
        except CatalogueError as error:
            assert "No space left on device" in str(error)
            assert removed in Catalogue.load(shop).ids
        assert not find_problems(shop)


def fill(ballast: Path, free: int) -> None:
    """Leave `free` bytes of a file system."""
    ballast.unlink(missing_ok=True)
    status = os.statvfs(ballast.parent)
    ballast.write_bytes(bytes(max(0, status.f_bavail * status.f_frsize - free)))


def test_a_full_disk_stops_indexing_and_space_lets_it_go_on(engine: Engine, small_disk: Path) -> None:
    shop, ballast = small_disk / "shop", small_disk / "ballast"
    ballast.write_bytes(bytes(200_000))
    with pytest.raises(CatalogueError, match="No space left on device"):
        crash.build(engine, shop)
    with pytest.raises(CatalogueError, match=r"expected a catalogue folder with a manifest\.json, found none"):
        Catalogue.load(shop)
    ballast.unlink()
    crash.build(engine, shop)
    assert len(Catalogue.load(shop)) == 200


def test_a_read_only_folder_is_an_error_and_can_be_read(engine: Engine, tmp_path: Path) -> None:
    shop = tmp_path / "shop"
    crash.build(engine, shop)
    before = crash.State.of(shop)
    with read_only(shop):
        with pytest.raises(CatalogueError, match="expected a folder that can be written, found: "):
            Catalogue.load(shop).save(shop)
        with pytest.raises(CatalogueError, match="expected a folder that can be written, found: "):
            crash.build(engine, shop)
        assert crash.State.of(shop) == before and not find_problems(shop)


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Make a folder read-only while a block runs, for root too."""
    if os.geteuid():
        folder.chmod(0o555)
        try:
            yield
        finally:
            folder.chmod(0o755)
        return
    for options in (["--bind"], ["-o", "remount,ro,bind"]):
        command = ["mount", *options, str(folder), str(folder)]
        if subprocess.run(command, check=False, capture_output=True).returncode:
            pytest.skip("root ignores permissions, and a read-only mount is not allowed here")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_second_writer_gets_a_clear_error(engine: Engine, tmp_path: Path) -> None:
    shop = tmp_path / "shop"
    crash.build(engine, shop)
    with locked(shop), pytest.raises(CatalogueError, match=rf"found one at work, process {os.getpid()}"):
        Catalogue.load(shop).remove(["p1"]).save(shop)
    Catalogue.load(shop).remove(["p1"]).save(shop)


def test_a_change_made_meanwhile_is_not_lost(engine: Engine, tmp_path: Path) -> None:
    shop = tmp_path / "shop"
    crash.build(engine, shop)
    first, second = Catalogue.load(shop), Catalogue.load(shop)
    changed = first.remove(["p1"])
    changed.save(shop)
    with pytest.raises(CatalogueError, match="expected generation 1, which this catalogue came from, found 2"):
        second.remove(["p2"]).save(shop)
    changed.remove(["p2"]).save(shop)
    assert len(Catalogue.load(shop)) == 198


def test_a_reader_keeps_the_generation_that_it_opened(engine: Engine, tmp_path: Path) -> None:
    shop = tmp_path / "shop"
    crash.build(engine, shop)
    expected = crash.State.of(shop)
    reader = Catalogue.load(shop)
    crash.OPERATIONS[2].run(engine, shop)
    crash.OPERATIONS[3].run(engine, shop)
    assert expected is not None and reader.products == expected.products
    assert (reader.embeddings == expected.embeddings).all() and reader.mask(crash.WHERE).tolist() == expected.mask


def test_everything_is_flushed_before_the_switch(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = tmp_path / "shop"
    steps: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def recording_fsync(descriptor: int) -> None:
        steps.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        fsync(descriptor)

    def recording_replace(old: Path, new: Path) -> Path:
        steps.append("switch")
        return replace(old, new)

    monkeypatch.setattr(os, "fsync", recording_fsync)
    monkeypatch.setattr(Path, "replace", recording_replace)
    Catalogue.build(engine, crash.products(0, 9)).save(shop)
    files = {path.name for path in shop.iterdir()} - {"manifest.json", ".lock"}
    folder = steps.index("shop")
    assert set(steps[:folder]) == files
    assert [step.split(".json")[0] for step in steps[folder:]] == ["shop", ".manifest", "switch", "shop"]
