"""Commands of other packages, which are found through the entry-point group `clipshelf.commands`."""

from __future__ import annotations

import argparse
import importlib.metadata
from collections.abc import Callable
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from clipshelf.bundled import model_path
from clipshelf.cli.main import main
from clipshelf.errors import ExportError

ENGINE_COMMANDS = ("demo", "index", "add", "update", "remove", "verify", "recommend", "info", "bench", "host")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--times", type=int, default=1)


def command_module(run: Callable[[argparse.Namespace], int]) -> ModuleType:
    """A module with what the command line expects of one."""
    module = ModuleType("dance_command")
    vars(module).update(HELP="move to music", add_arguments=add_arguments, run=run)
    return module


class Plugin:
    """Replaces the installed entry points by one, and records how they are looked up."""

    def __init__(self, name: str, module: ModuleType) -> None:
        self.lookups: list[dict[str, Any]] = []
        self.loads = 0
        self._name = name
        self.module = module

    def entry_points(self, **selection: Any) -> EntryPoints:
        self.lookups.append(selection)
        plugin = self

        class Loaded(EntryPoint):
            def load(self) -> ModuleType:
                plugin.loads += 1
                return plugin.module

        return EntryPoints([Loaded(self._name, "dance_command", "clipshelf.commands")]).select(**selection)


@pytest.fixture
def plugin(monkeypatch: pytest.MonkeyPatch) -> Plugin:
    """An installed command `dance`, whose exit code is its option --times."""
    plugin = Plugin("dance", command_module(lambda args: int(args.times)))
    monkeypatch.setattr(importlib.metadata, "entry_points", plugin.entry_points)
    return plugin


def test_an_entry_point_adds_a_command(plugin: Plugin) -> None:
    assert main(["dance"]) == 1 and main(["dance", "--times", "3"]) == 3
    assert plugin.lookups == [{"group": "clipshelf.commands", "name": "dance"}] * 2


def test_its_arguments_are_checked_and_shown_in_its_help(plugin: Plugin, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["dance", "--times", "often"])
    assert stop.value.code == 2 and "invalid int value: 'often'" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stop:
        main(["dance", "--help"])
    output = capsys.readouterr().out
    assert stop.value.code == 0 and "move to music" in output and "--times" in output


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ExportError("expected music,\n found none"), "expected music, found none"),
        (FileNotFoundError(2, "No such file or directory", "song.mp3"), "No such file or directory: song.mp3"),
        (OSError("no sound"), "no sound"),
        (KeyboardInterrupt(), "interrupted"),
    ],
)
def test_its_errors_become_one_line(
    plugin: Plugin,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    message: str,
) -> None:
    def fail(args: argparse.Namespace) -> int:
        raise error

    monkeypatch.setattr(plugin, "module", command_module(fail))
    assert main(["dance"]) == 1
    assert capsys.readouterr().err == f"clipshelf: {message}\n"


def test_an_unexpected_error_keeps_its_traceback(plugin: Plugin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugin, "module", command_module(lambda args: 1 // 0))
    with pytest.raises(ZeroDivisionError):
        main(["dance"])


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_the_list_of_commands_has_it(plugin: Plugin, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    output = capsys.readouterr()
    if arguments:
        assert stop.value.code == 0 and "dance" in output.out and "move to music" in output.out
    else:
        assert stop.value.code == 2 and "COMMAND" in output.err


def test_an_unknown_command_is_misuse(plugin: Plugin, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["sing"])
    error = capsys.readouterr().err
    assert stop.value.code == 2 and "invalid choice: 'sing'" in error and "usage: clipshelf" in error
    assert plugin.lookups == [{"group": "clipshelf.commands", "name": "sing"}] and plugin.loads == 0


def test_the_engines_own_commands_look_up_nothing(plugin: Plugin, capsys: pytest.CaptureFixture[str]) -> None:
    for command in (*ENGINE_COMMANDS, "--version"):
        with pytest.raises(SystemExit) as stop:
            main([command, "--help"])
        assert stop.value.code == 0
    assert main(["info", str(model_path())]) == 0
    assert "artifact" in capsys.readouterr().out
    assert plugin.lookups == []


def test_export_is_a_command_of_its_own_package(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    [export] = importlib.metadata.entry_points(group="clipshelf.commands", name="export")
    assert export.value == "clipshelf_export.cli"
    with pytest.raises(SystemExit) as stop:
        main(["export", "--help"])
    output = capsys.readouterr().out
    assert stop.value.code == 0 and "usage: clipshelf export" in output and "--precision" in output
    with pytest.raises(SystemExit) as stop:
        main(["export", str(tmp_path)])
    assert stop.value.code == 2 and "OUT" in capsys.readouterr().err
