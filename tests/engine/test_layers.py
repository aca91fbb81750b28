"""The layers of the packages, which import-linter checks by the contracts in pyproject.toml."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
SOURCES = ("engine", "export", "bench")

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("importlinter") is None, reason="needs import-linter, which the group dev has"
)


def lint_imports(root: Path) -> subprocess.CompletedProcess[str]:
    """Run import-linter on the packages below `root`."""
    code = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    options = ["--config", str(CHECKOUT / "pyproject.toml"), "--no-cache"]
    # Without site, whose editable install would find the packages of the checkout before those below root.
    path = os.pathsep.join([*(str(root / folder) for folder in SOURCES), *filter(None, sys.path)])
    return subprocess.run(
        [sys.executable, "-S", "-c", code, *options],
        capture_output=True,
        text=True,
        check=False,
        cwd=root,
        env=os.environ | {"PYTHONPATH": path, "COLUMNS": "200"},
    )


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """The sources of the packages in another folder."""
    for folder in SOURCES:
        shutil.copytree(
            CHECKOUT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__", "*.svg", "*.json")
        )
    return tmp_path


def test_the_sources_keep_to_the_layers() -> None:
    done = lint_imports(CHECKOUT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


@pytest.mark.parametrize(
    ("module", "statement", "contract", "chain"),
    [
        (
            "engine/clipshelf/runtime/cpus.py",
            "from clipshelf.recommend import query",
            "Layers of the engine BROKEN",
            "clipshelf.runtime.cpus -> clipshelf.recommend.query",
        ),
        (
            "engine/clipshelf/recommend/signals.py",
            "from clipshelf.recommend import search",
            "Layers of the recommendations",
            "clipshelf.recommend.signals -> clipshelf.recommend.search",
        ),
        (
            "engine/clipshelf/rank/scan.py",
            "import onnxruntime",
            "Only the runtime imports onnxruntime BROKEN",
            "clipshelf.rank.scan -> onnxruntime",
        ),
        (
            "engine/clipshelf/cli/demo.py",
            "import clipshelf_export.cli",
            "The engine imports neither the exporter",
            "clipshelf.cli.demo -> clipshelf_export.cli",
        ),
        (
            "export/clipshelf_export/checkpoints/load.py",
            "from clipshelf_export.graphs import build",
            "Layers of the exporter BROKEN",
            "clipshelf_export.checkpoints.load -> clipshelf_export.graphs.build",
        ),
    ],
)
def test_an_import_up_the_layers_is_reported(
    copied: Path, module: str, statement: str, contract: str, chain: str
) -> None:
    with (copied / module).open("a") as file:
        file.write(f"\n\ndef _upward() -> None:\n    {statement}\n")
    done = lint_imports(copied)
    assert done.returncode == 1, done.stdout + done.stderr
    assert contract in done.stdout and "BROKEN" in done.stdout
    assert chain in done.stdout


def test_a_package_outside_the_layers_is_reported(copied: Path) -> None:
    (copied / "engine/clipshelf/extras.py").touch()
    done = lint_imports(copied)
    assert done.returncode == 1 and "extras" in done.stdout + done.stderr
