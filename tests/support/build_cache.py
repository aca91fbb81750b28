"""A cache in `build/` for what the tests compile, which stays valid as long as its inputs do not change."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

fcntl = pytest.importorskip("fcntl", reason="the cache is locked with fcntl, which Windows does not have")

CHECKOUT = Path(__file__).resolve().parents[2]
CACHE = CHECKOUT / "build" / "tests"


def cached(name: str, inputs: Iterable[Path | str], make: Callable[[Path], object], root: Path = CACHE) -> Path:
    """The folder `root`/NAME-HASH that `make(folder)` filled, now or in an earlier run.

    The hash is over `inputs`: the bytes of each path's files, which must exist, and strings as they are. One process
    fills the folder while others wait. Folders of the same name with another hash are removed.
    """
    folder = root / f"{name}-{_hash(inputs)}"
    root.mkdir(parents=True, exist_ok=True)
    with (root / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = folder / ".done"  # last, so that an interrupted run leaves nothing that looks whole
        if not done.exists():
            for old in root.glob(f"{name}-{'?' * 16}"):
                shutil.rmtree(old)
            folder.mkdir()
            make(folder)
            done.touch()
    return folder


def toolchain(compiler: str) -> list[str]:
    """Inputs of every build: the versions and the paths of the compiler, Python and pybind11."""
    import pybind11

    version = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=True).stdout
    return [compiler, version, sys.version, sys.prefix, str(CHECKOUT), pybind11.__version__]


def _hash(inputs: Iterable[Path | str]) -> str:
    digest = hashlib.sha256()
    for source in inputs:
        if isinstance(source, str):
            digest.update(f"{source}\0".encode())
            continue
        files = sorted(filter(Path.is_file, source.rglob("*"))) if source.is_dir() else [source]
        for file in files:
            digest.update(f"{file}\0".encode() + hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:16]
