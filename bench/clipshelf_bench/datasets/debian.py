"""Debian packages as plain data: downloaded and unpacked without root and without installing anything."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path


class PackageError(RuntimeError):
    """A package could not be downloaded or unpacked; the message says which step failed and why."""


def run_tool(command: list[str], cwd: Path, hint: str) -> str:
    """Standard output of `command` run in `cwd`; PackageError with `hint` when the tool is missing or fails."""
    if shutil.which(command[0]) is None:
        raise PackageError(f"{command[0]} not found on PATH: {hint}")
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise PackageError(f"{' '.join(command)} exited with {done.returncode}: {done.stderr.strip()[-500:]}")
    return done.stdout


def debian_package(name: str, cache: Path) -> Path:
    """Root of the unpacked Debian package `name` (the folder that holds `usr/`), kept under `cache`.

    Raises PackageError when apt-get or dpkg-deb is missing, or knows no such package.
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
