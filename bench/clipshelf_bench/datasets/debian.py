"""Debian packages as plain data: downloaded and unpacked without root and without installing anything."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path


class PackageError(RuntimeError):
    """A package could not be downloaded or unpacked; the message says which step failed and why."""


def run_tool(command: list[str], cwd: Path, hint: str) -> str:
    """Run a program and return its standard output.

    - `command`: the program and its arguments.
    - `cwd`: the folder to run it in.
    - `hint`: what to do where the program is not installed.

    Raises PackageError when the program is missing or fails.
    """
    if shutil.which(command[0]) is None:
        raise PackageError(f"{command[0]} not found on PATH: {hint}")
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise PackageError(f"{' '.join(command)} exited with {done.returncode}: {done.stderr.strip()[-500:]}")
    return done.stdout


def debian_package(name: str, cache: Path) -> Path:
    """Download and unpack a package, unless it is in the cache.

    - `name`: name of the package.
    - `cache`: the folder that keeps unpacked packages.

    Returns the folder that holds the package's `usr/`. Raises PackageError when apt-get or dpkg-deb is missing, or
    knows no such package.
    """
    root = cache / "debian" / name
    if root.is_dir():
        return root
    root.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root.parent) as temporary:
        folder = Path(temporary)
        run_tool(["apt-get", "download", name], folder, "Debian or Ubuntu is needed, after `apt-get update`")
        archives = sorted(folder.glob("*.deb"))
        if len(archives) != 1:
            raise PackageError(f"apt-get download {name}: expected one .deb, found {len(archives)}")
        unpacked = folder / "root"
        unpacked.mkdir()
        run_tool(["dpkg-deb", "-x", str(archives[0]), str(unpacked)], folder, "it is part of dpkg")
        unpacked.rename(root)
    return root
