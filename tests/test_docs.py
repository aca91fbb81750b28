"""The documentation: its Python examples run, its commands exist, and its links lead somewhere."""

from __future__ import annotations

import argparse
import csv
import re
import shlex
import shutil
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path
from urllib.parse import unquote

import pytest
from clipshelf.cli.main import main
from support import tiny

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("engine/clipshelf", "export/clipshelf_export", "bench/clipshelf_bench")
FOLDERS = (".github", "bench", "deploy", "docs", "examples", "host", "models")
PAGES = sorted([*ROOT.glob("*.md"), *(page for folder in FOLDERS for page in (ROOT / folder).rglob("*.md"))])
# pages whose Python runs, and how what they print begins
RUNNING_PAGES = {
    "README.md": "running-shoes ",
    "docs/cookbook.md": "  1  ",
    "docs/evaluate.md": "default: recall ",
    "docs/change-of-model.md": "0 products, overlap ",
    "docs/scale.md": "  1  ",
    "docs/scores.md": "text None image ",
    "docs/service.md": "{'embed_text': ",
    "docs/shop.md": "text ",
}

FENCE = re.compile(r"^( *)```(\w*)[^\n]*\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`[^`\n]+`")
LINK = re.compile(r"\[[^\]]*\]\(<?([^)\s>]+)>?[^)]*\)")
HEADING = re.compile(r"^#+ +(.+?) *$", re.MULTILINE)
# a path of the repository in backticks, such as `recommend/query.py`
SOURCE_FILE = re.compile(r"`([\w.-]+(?:/[\w.-]+)+(?:\.(?:py|md|h|hpp|cpp|toml)|/))`")
COMMAND = re.compile(r"^(?:\S*/)?clipshelf (.+)$", re.MULTILINE)


def _name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def _blocks(page: Path, *languages: str) -> Iterator[tuple[int, str]]:
    """The first line and the text of each fenced block in one of the languages."""
    text = page.read_text(encoding="utf-8")
    for fence in FENCE.finditer(text):
        if fence[2] in languages:
            yield text.count("\n", 0, fence.start(3)) + 1, fence[3]


def _prose(page: Path) -> str:
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def _anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives the headings of a page."""
    headings = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading) for heading in HEADING.findall(_prose(page))]
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the examples, in which the shelf has every eighth product and those that the pages name.

    `new-model` stands for a model that a reader has exported.
    """
    folder = tmp_path_factory.mktemp("checkout")
    shutil.copytree(ROOT / "examples", folder / "examples", ignore=shutil.ignore_patterns("*.py", "*.md"))
    tiny.write_artifact(folder / "new-model")
    table = folder / "examples/shelf/products.csv"
    with table.open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    pages = "".join((ROOT / name).read_text(encoding="utf-8") for name in RUNNING_PAGES)
    with table.open("w", encoding="utf-8", newline="") as file:
        chosen = [row for i, row in enumerate(rows) if not i % 8 or f'"{row[0]}"' in pages]
        csv.writer(file).writerows([header, *chosen])
    return folder


@pytest.fixture
def _in_checkout(checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(checkout, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("_in_checkout")
@pytest.mark.parametrize(("name", "beginning"), RUNNING_PAGES.items())
def test_the_python_examples_of_a_page_run_from_top_to_bottom(
    name: str, beginning: str, capsys: pytest.CaptureFixture[str]
) -> None:
    namespace: dict[str, object] = {"__name__": "__main__"}
    for line, block in _blocks(ROOT / name, "python"):
        # the line numbers of a traceback are those of the page
        exec(compile("\n" * (line - 1) + block, str(ROOT / name), "exec"), namespace)
    assert capsys.readouterr().out.startswith(beginning)


def _commands(page: Path) -> list[list[str]]:
    """The arguments of each `clipshelf` command in the shell blocks of a page."""
    lines = [line for _, block in _blocks(page, "sh") for line in COMMAND.findall(block)]
    words = [shlex.split(line, comments=True) for line in lines]
    return [list(takewhile(lambda word: word not in ("|", ">", "&&"), command)) for command in words]


@pytest.mark.parametrize("page", [page for page in PAGES if _commands(page)], ids=_name)
def test_commands_and_options_exist(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[argparse.Namespace] = []
    parse_args = argparse.ArgumentParser.parse_args

    def parse_only(parser: argparse.ArgumentParser, argv: list[str]) -> argparse.Namespace:
        parsed.append(parse_args(parser, argv))
        return argparse.Namespace(run=lambda _: 0)

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_only)
    commands = _commands(page)
    assert [main(command) for command in commands] == [0] * len(commands)
    assert len(parsed) == len(commands)


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_relative_links_lead_to_files_and_headings(page: Path) -> None:
    broken = []
    for link in LINK.findall(CODE.sub("", _prose(page))):
        path, _, anchor = unquote(link).partition("#")
        if re.match(r"[a-z]+:", path):
            continue
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in _anchors(target)):
            broken.append(link)
    assert not broken


def test_the_files_that_the_architecture_names_exist() -> None:
    roots = [ROOT, *(ROOT / package for package in PACKAGES), ROOT / "engine/clipshelf/catalogue"]
    named = set(SOURCE_FILE.findall(_prose(ROOT / "docs/architecture.md")))
    assert len(named) > 20
    assert not {path for path in named if not any((root / path).exists() for root in roots)}
