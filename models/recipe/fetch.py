"""The sources of the data: Debian packages, npm packages, and files in installed Python packages."""

from __future__ import annotations

import tarfile
import tempfile
from pathlib import Path

from clipshelf_bench.datasets.debian import PackageError, debian_package, run_tool

OPENCLIPART_PNG, OPENCLIPART_SVG, WORDNET = "openclipart-png", "openclipart-svg", "wordnet-base"
KEYWORDS = "emojibase-data@17.0.0"
NOTO = "@iconify-json/noto@1.2.9"
TWEMOJI = "@twemoji/svg@15.0.0"
FLUENT_FLAT = "@lobehub/fluent-emoji-flat@1.1.0"
# Sets whose drawings have names instead of code points.
NAMED = {
    "fxemoji": "@iconify-json/fxemoji@1.2.2",
    "emojione": "@iconify-json/emojione@1.2.3",
    "noto-v1": "@iconify-json/noto-v1@1.2.5",
    "streamline": "@iconify-json/streamline-emojis@1.2.4",
}

__all__ = ["PackageError", "debian_package", "npm_package"]


def npm_package(spec: str, cache: Path) -> Path:
    """Fetch an npm package and return its unpacked folder, which is cached. No install script runs.

    - `spec`: "name@version".
    - `cache`: the folder of the cache.
    """
    root = cache / "npm" / spec.lstrip("@").replace("/", "-")
    if root.is_dir():
        return root
    root.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root.parent) as temporary:
        folder = Path(temporary)
        run_tool(["npm", "pack", spec, "--silent", "--ignore-scripts"], folder, "it comes with Node.js")
        archives = sorted(folder.glob("*.tgz"))
        if len(archives) != 1:
            raise PackageError(f"npm pack {spec}: expected one archive, found {len(archives)}")
        with tarfile.open(archives[0]) as archive:
            archive.extractall(folder / "out", filter="data")
        next((folder / "out").iterdir()).rename(root)
    return root
