from __future__ import annotations

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import clipshelf
import pytest


def test_the_public_names_are_these() -> None:
    assert clipshelf.__all__ == [
        "Artifact",
        "ArtifactError",
        "Catalogue",
        "CatalogueError",
        "Changes",
        "ClipshelfError",
        "Contribution",
        "Engine",
        "ExportError",
        "Failure",
        "FingerprintMismatch",
        "ImageError",
        "ImageLimits",
        "InputError",
        "Interaction",
        "MissingExtra",
        "OnError",
        "ProductFields",
        "Profile",
        "ProviderUnavailable",
        "Query",
        "Ranker",
        "Recommendation",
        "Recommendations",
        "Recommender",
        "UnknownIdError",
        "Weights",
        "index",
    ]
    assert all(hasattr(clipshelf, name) for name in clipshelf.__all__)


def run(code: str) -> str:
    """What a fresh interpreter prints; it fails where the code does."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


HEAVY = "('numpy', 'PIL', 'onnxruntime', 'tokenizers', 'tqdm', 'ftfy', 'torch', 'importlib.metadata')"


def test_names_are_imported_when_they_are_used() -> None:
    output = run(
        "import sys, clipshelf\n"
        f"loaded = [name for name in {HEAVY} if name in sys.modules]\n"
        "print(loaded, [name for name in sys.modules if name.startswith('clipshelf.')])\n"
        "print(set(clipshelf.__all__) <= set(dir(clipshelf)), '__version__' in dir(clipshelf))\n"
        "print(clipshelf.Failure.__module__, 'numpy' in sys.modules)\n"
        "print(clipshelf.Engine.__module__, clipshelf.Engine is clipshelf.Engine, 'numpy' in sys.modules)\n"
        "from clipshelf import Query, index\n"
        "print(Query.__module__, index.__module__)\n"
    )
    assert output.splitlines() == [
        "[] []",
        "True True",
        "clipshelf.failures False",
        "clipshelf.model.engine True True",
        "clipshelf.recommend.query clipshelf.catalogue.indexing",
    ]


def test_a_star_import_gives_the_public_names() -> None:
    assert run("from clipshelf import *; print(Engine.__name__, Recommender.__name__)") == "Engine Recommender"


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'clipshelf' has no attribute 'Motor'"):
        clipshelf.Motor  # noqa: B018
    with pytest.raises(ImportError, match="cannot import name 'Motor'"):
        exec("from clipshelf import Motor")


def test_type_checkers_see_the_public_names_where_they_are_defined() -> None:
    tree = ast.parse(Path(clipshelf.__file__).read_text(encoding="utf-8"))
    [block] = [node for node in tree.body if isinstance(node, ast.If)]
    assert ast.unparse(block.test) == "TYPE_CHECKING"
    modules: dict[str, str | None] = {}
    for node in block.body:
        assert isinstance(node, ast.ImportFrom)
        for alias in node.names:
            assert alias.asname == alias.name  # else it would be no public name for a type checker
            modules[alias.name] = node.module
    assert sorted(modules) == clipshelf.__all__
    for name, module in modules.items():
        assert getattr(clipshelf, name) is getattr(import_module(str(module)), name)


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["recommend", "--help"], ["dance"]])
def test_the_command_line_starts_without_numpy(arguments: list[str]) -> None:
    output = run(
        "import sys\n"
        "from clipshelf.cli.main import main\n"
        "try:\n"
        f"    main({arguments!r})\n"
        "except SystemExit:\n"
        f"    print([name for name in {HEAVY}[:-1] if name in sys.modules])\n"
    )
    assert output.splitlines()[-1] == "[]"
