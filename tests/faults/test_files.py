"""Files that several write at once, that are planted, and on file systems that cannot lock or flush."""

from __future__ import annotations

import errno
import multiprocessing
import os
import stat
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import crash
import pytest
from clipshelf import Catalogue, Engine, Profile, index
from clipshelf.catalogue.content_keys import image_key
from clipshelf.catalogue.reading.readers import ProductFields, read_source
from clipshelf.cli.main import main
from clipshelf.errors import CatalogueError, InputError, TimedOut
from clipshelf.files import FileRecord, durable, locked, open_regular
from clipshelf.interrupts import interruptible

fcntl = pytest.importorskip("fcntl")


def save_often(path: Path, number: int) -> None:
    profile = Profile(texts=[f"{number} {'shoe ' * 2000}"])
    for _ in range(40):
        profile.save(path)
        assert Profile.load(path).texts[0].endswith("shoe ")


def test_threads_that_save_one_profile_never_break_it(tmp_path: Path) -> None:
    path = tmp_path / "profile.json"
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(save_often, [path] * 4, range(4)))
    assert [found.name for found in tmp_path.iterdir()] == ["profile.json"]


def test_processes_of_one_id_do_not_lose_each_others_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getpid", lambda: 1)  # as in every container
    with durable(tmp_path / "a") as first:
        first.write(b"first")
        with durable(tmp_path / "a") as second:
            second.write(b"second, and longer")
        assert (tmp_path / "a").read_bytes() == b"second, and longer"
    assert (tmp_path / "a").read_bytes() == b"first"


def test_no_planted_link_is_followed(engine: Engine, tmp_path: Path) -> None:
    victim, shop = tmp_path / "victim", tmp_path / "shop"
    victim.write_text("mine")
    shop.mkdir()
    (tmp_path / f".profile.json.{os.getpid()}").symlink_to(victim)
    (tmp_path / "profile.json").symlink_to(victim)
    Profile(texts=["red"]).save(tmp_path / "profile.json")
    (shop / "embeddings.1.npy").symlink_to(victim)
    (shop / f".manifest.json.{os.getpid()}").symlink_to(victim)
    Catalogue.build(engine, crash.products(0, 9)).save(shop)
    assert victim.read_text() == "mine" and not (tmp_path / "profile.json").is_symlink()
    for name in (".lock", f"journal.{engine.fingerprint}"):
        (shop / name).unlink(missing_ok=True)
        (shop / name).symlink_to(victim)
        with pytest.raises(CatalogueError, match=r"symbolic links|Symbolic link"):
            index(engine, crash.products(0, 9), shop)
        (shop / name).unlink()
        assert victim.read_text() == "mine"
    assert len(Catalogue.load(shop)) == 9


def test_a_name_as_long_as_a_file_system_allows_can_be_saved(tmp_path: Path) -> None:
    path = tmp_path / ("ä" * 120 + ".json")
    Profile(texts=["red"]).save(path)
    assert Profile.load(path).texts == ("red",)


def test_waiting_for_another_writer_ends_where_the_call_does(tmp_path: Path) -> None:
    asked = 0

    def check() -> None:
        nonlocal asked
        asked += 1
        if asked == 4:
            raise TimedOut("enough")

    with locked(tmp_path), interruptible(check), pytest.raises(TimedOut, match="enough"), locked(tmp_path, timeout=600):
        pass


@pytest.mark.parametrize("timeout", [-1, float("nan"), "1", True, None])
def test_a_timeout_is_seconds(tmp_path: Path, timeout: Any) -> None:
    with (
        pytest.raises(InputError, match="timeout: expected seconds from 0 on, found"),
        locked(tmp_path, timeout=timeout),
    ):
        pass


def test_a_writer_may_wait_for_another(engine: Engine, tmp_path: Path, tiny_artifact: Path) -> None:
    shop = tmp_path / "shop"
    crash.build(engine, shop)
    held, release = threading.Event(), threading.Event()

    def hold() -> None:
        with locked(shop):
            held.set()
            release.wait(20)

    with ThreadPoolExecutor(1) as pool:
        pool.submit(hold)
        held.wait(20)
        command = ["remove", str(shop), "p1"]
        assert main(command) == 1
        start = time.monotonic()
        with pytest.raises(CatalogueError, match=rf"found one at work, process {os.getpid()} on .* after 0\.2 seconds"):
            Catalogue.load(shop).remove(["p1"]).save(shop, timeout=0.2)
        assert 0.2 <= time.monotonic() - start < 5
        threading.Timer(0.2, release.set).start()
        assert main([*command, "--wait", "20"]) == 0
    assert len(Catalogue.load(shop)) == 199


def test_many_writers_that_wait_lose_nothing(tiny_artifact: Path, tmp_path: Path) -> None:
    shop = tmp_path / "shop"
    crash.build(Engine.load(tiny_artifact, threads=1), shop)
    command = [sys.executable, "-m", "clipshelf", "remove", str(shop), "--wait", "60"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    writers = [subprocess.Popen([*command, f"p{i}"], env=environment, stdout=subprocess.DEVNULL) for i in range(4)]
    assert [writer.wait(120) for writer in writers] == [0] * 4
    assert Catalogue.load(shop).ids == [f"p{i}" for i in range(4, 200)]


def test_a_child_that_was_forked_meanwhile_holds_no_lock(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    child = context.Process(target=time.sleep, args=(20,))
    with locked(tmp_path):
        child.start()
    try:
        with locked(tmp_path):
            pass
    finally:
        child.kill()
        child.join()


@pytest.mark.parametrize("number", [errno.EOPNOTSUPP, errno.ENOLCK, errno.ENOSYS, errno.EINVAL])
def test_a_file_system_without_locks_is_named_as_one(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", fail)
    with pytest.raises(
        CatalogueError, match=r"expected a file system that can lock files, found one that cannot: \[Err"
    ):
        Catalogue.build(engine, crash.products(0, 9)).save(tmp_path / "shop")


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS])
@pytest.mark.parametrize("of_files_too", [False, True])
def test_a_file_system_that_cannot_flush_is_written_all_the_same(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, of_files_too: bool
) -> None:
    fsync = os.fsync

    def fail(descriptor: int) -> None:
        if of_files_too or stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(number, os.strerror(number))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", fail)
    Catalogue.build(engine, crash.products(0, 9)).save(tmp_path / "shop")
    Profile(texts=["red"]).save(tmp_path / "profile.json")
    assert len(Catalogue.load(tmp_path / "shop")) == 9


def test_a_disk_that_fails_to_flush_is_an_error(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    crash.build(engine, tmp_path / "shop")
    before = crash.State.of(tmp_path / "shop")
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(CatalogueError, match="Input/output error"):
        Catalogue.load(tmp_path / "shop").remove(["p1"]).save(tmp_path / "shop")
    assert crash.State.of(tmp_path / "shop") == before


def test_an_error_of_the_caller_is_not_taken_for_one_of_the_folder(engine: Engine, tmp_path: Path) -> None:
    def progress(done: int, total: int | None) -> None:
        raise BrokenPipeError(errno.EPIPE, "the reader has left")

    with pytest.raises(BrokenPipeError):
        index(engine, crash.products(0, 9), tmp_path / "shop", progress=progress)


def test_pipes_and_devices_are_no_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero"), tmp_path):
        with pytest.raises(OSError, match="expected a regular file"):
            open_regular(path)
        with pytest.raises(OSError, match="expected a regular file"):
            FileRecord.of(path)
    os.mkfifo(tmp_path / "a.png")
    assert not image_key(tmp_path / "a.png").strip(b"\0")


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl", "json", "csv.gz", "parquet"])
def test_a_table_of_products_is_a_regular_file(suffix: str, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    os.mkfifo(tmp_path / f"pipe.{suffix}")
    (tmp_path / f"zeros.{suffix}").symlink_to("/dev/zero")
    for name in ("pipe", "zeros"):
        with pytest.raises(InputError, match="expected a regular file"):
            read_source(tmp_path / f"{name}.{suffix}", ProductFields())


def test_a_profile_is_a_regular_file_of_bounded_size(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(OSError, match="expected a regular file"):
            Profile.load(path)
    (tmp_path / "large").touch()
    os.truncate(tmp_path / "large", 1 << 40)
    with pytest.raises(OSError, match="expected at most"):
        Profile.load(tmp_path / "large")
