"""The entry point of the command line: finds the command, runs it, and turns errors into one line.

Exit codes: 0 done, 1 failure, 2 misuse. Commands of other packages are found through the entry-point group
`clipshelf.commands`: each names a module with `HELP`, `add_arguments(parser)` and `run(args)`. It is looked up only for
a command that this package does not have, and for the list of all commands.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

from clipshelf import __version__
from clipshelf.cli import (
    bundle,
    calibrate,
    catalogue,
    demo,
    describe,
    device,
    evaluate,
    export_to,
    plan,
    push,
    recommend,
    reembed,
    scale,
    serve,
)
from clipshelf.cli.options import Commands, Parser, mark_values, unmark
from clipshelf.cli.output import close_output, drop_output, open_streams, print_error
from clipshelf.errors import ClipshelfError

_PLUGINS = "clipshelf.commands"
# In the order in which the help lists their commands.
_MODULES = (demo, catalogue, calibrate, evaluate, recommend, serve, describe, device, plan, bundle, export_to, push)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    - `argv`: the arguments; None for those of the process.

    Returns the exit code. Raises SystemExit on misuse, as argparse does.
    """
    argv = sys.argv[1:] if argv is None else list(argv)
    output_is_open = open_streams()
    args = unmark(_parser(argv).parse_args(mark_values(argv)))
    code = _exit_code(partial(args.run, args))
    if code:
        with suppress(OSError):  # one error is enough
            close_output()
        return code
    code = _exit_code(close_output, "standard output: ")
    if not output_is_open:
        print_error("standard output: expected it to be open, found it closed")
        return 1
    return code


def _exit_code(run: Callable[[], int | None], what: str = "") -> int:
    """Run something; print its error after the words `what`, and return its exit code."""
    try:
        return int(run() or 0)
    except ClipshelfError as error:
        message = "; ".join((str(error), *getattr(error, "__notes__", ())))
    except BrokenPipeError:
        # The reader of the output has left. Python would report it once more when it flushes at exit.
        drop_output()
        return 1
    except OSError as error:
        message = f"{error.strerror or error}{f': {os.fsdecode(error.filename)}' if error.filename else ''}"
    except MemoryError:
        message = "expected more memory, found none left"
    except KeyboardInterrupt:
        message = "interrupted"
    print_error(f"{what}{message}")
    return 1


def _parser(argv: Sequence[str]) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = Parser(
        prog="clipshelf", description="Product recommendations from pictures and words, in milliseconds, without torch."
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for module in (
        demo,
        catalogue,
        calibrate,
        evaluate,
        reembed,
        recommend,
        serve,
        describe,
        device,
        plan,
        bundle,
        export_to,
        push,
        scale,
    ):
        module.add_commands(commands)
    first = argv[0] if argv else ""
    if first not in commands.choices and first != "--version":
        _add_plugins(commands, None if first.startswith("-") else first)
    return parser


def _add_plugins(commands: Commands, name: str | None) -> None:
    """Add the command `name` of another package, or all of them for None."""
    from importlib.metadata import entry_points

    for plugin in entry_points(group=_PLUGINS) if name is None else entry_points(group=_PLUGINS, name=name):
        module = plugin.load()
        parser = commands.add_parser(plugin.name, help=module.HELP, description=module.HELP)
        module.add_arguments(parser)
        parser.set_defaults(run=module.run)
