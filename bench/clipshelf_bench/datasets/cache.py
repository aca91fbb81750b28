"""Folders that the bench writes to outside the repository's sources."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """Downloads and models made for the bench: $CLIPSHELF_BENCH_CACHE, else `clipshelf-bench` in the user's cache."""
    chosen = os.environ.get("CLIPSHELF_BENCH_CACHE")
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(chosen) if chosen else Path(base) / "clipshelf-bench"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
