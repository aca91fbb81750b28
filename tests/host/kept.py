"""What the tests compile, kept in `build/` between runs for as long as nothing that it is made of changes."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
KEPT = CHECKOUT / "build" / "tests"


def kept(name: str, inputs: Iterable[Path | str], make: Callable[[Path], object], root: Path = KEPT) -> Path:
    """The folder `root`/NAME-HASH that `make(folder)` filled, now or in an earlier run.

    The hash is over `inputs`: the bytes of files and of all files below folders, and words as they are. One process
    makes it while others wait, and what was made of other inputs is removed.
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
    """What decides beside the sources: the compiler, this Python and pybind11, and where both are."""
    import pybind11

    version = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=True).stdout
    return [compiler, version, sys.version, sys.prefix, str(CHECKOUT), pybind11.__version__]


def _hash(inputs: Iterable[Path | str]) -> str:
    digest = hashlib.sha256()
    for source in inputs:
        if isinstance(source, str):
            digest.update(f"{source}\0".encode())
            continue
        for file in sorted(source.rglob("*")) if source.is_dir() else [source]:
            if file.is_file():
                digest.update(f"{file}\0".encode() + hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:16]
