"""The folder for downloads and for models that contenders prepare."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """$CLIPSHELF_BENCH_CACHE, or else `clipshelf-bench` in the user's cache; created where it is missing."""
    override = os.environ.get("CLIPSHELF_BENCH_CACHE")
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(override) if override else Path(base) / "clipshelf-bench"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
