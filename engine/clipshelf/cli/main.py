"""The command line: argument parsing, and errors in one line. Everything else is imported where it is used.

Exit codes: 0 done, 1 failure, 2 misuse.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from clipshelf import __version__
from clipshelf.cli import recommend as recommend_command
from clipshelf.errors import ClipshelfError

if TYPE_CHECKING:
    from clipshelf.catalogue.catalogue import Catalogue
    from clipshelf.catalogue.readers import Fields

    _Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

_PRODUCTS = "CSV, JSON Lines or Parquet file with columns text, image or both; id and all others are kept"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    argv = sys.argv[1:] if argv is None else list(argv)
    args = _parser(argv).parse_args(argv)
    try:
        code = int(args.run(args))
        sys.stdout.flush()
        return code
    except ClipshelfError as error:
        message = str(error)
    except BrokenPipeError:
        # whoever read the output has seen enough; Python would complain once more when it flushes at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        message = f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}"
    except KeyboardInterrupt:
        message = "interrupted"
    print(f"clipshelf: {' '.join(message.split())}", file=sys.stderr)
    return 1


def _parser(argv: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="clipshelf", description="Product recommendations from pictures and words, in milliseconds, without torch."
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    demo = commands.add_parser("demo", help="answer sample queries with the embedded model and shelf")
    demo.add_argument("--html", metavar="FILE", default="demo.html", help="page to write (default: %(default)s)")
    demo.set_defaults(run=_demo)

    _add_catalogue_commands(commands)
    _add_questions(commands)
    _add_device_commands(commands)
    export = commands.add_parser("export", help="turn a CLIP checkpoint into an artifact (needs clipshelf[export])")
    if argv[:1] == ["export"]:
        import clipshelf_export.cli

        clipshelf_export.cli.add_arguments(export)
        export.set_defaults(run=clipshelf_export.cli.run)
    return parser


def _add_catalogue_commands(commands: _Commands) -> None:
    """index, add, update, remove, verify: what writes a catalogue, and what checks it."""
    index = commands.add_parser("index", help="embed products into a catalogue")
    index.add_argument("products", metavar="PRODUCTS", help=_PRODUCTS)
    index.add_argument("out", metavar="OUT", help="folder of the catalogue")
    _add_embedding(index)
    index.set_defaults(run=_index)

    for command, told in (("add", "put more products into a catalogue"), ("update", "replace products by their ids")):
        change = commands.add_parser(command, help=told)
        change.add_argument("catalogue", metavar="CATALOGUE", help="folder that `clipshelf index` wrote")
        change.add_argument("products", metavar="PRODUCTS", help=_PRODUCTS)
        _add_embedding(change, default="that of the catalogue")
        change.set_defaults(run=_change, command=command)

    remove = commands.add_parser("remove", help="take products out of a catalogue")
    remove.add_argument("catalogue", metavar="CATALOGUE", help="folder that `clipshelf index` wrote")
    remove.add_argument("ids", metavar="ID", nargs="+", help="id of a product")
    remove.set_defaults(run=_remove)

    verify = commands.add_parser("verify", help="check every byte of a catalogue")
    verify.add_argument("dir", metavar="DIR", help="folder that `clipshelf index` wrote")
    verify.set_defaults(run=_verify)


def _add_questions(commands: _Commands) -> None:
    """recommend, info: what only reads."""
    recommend = commands.add_parser("recommend", help="products that fit words, pictures and what a person liked")
    recommend_command.add_arguments(recommend)
    _add_artifact(recommend, default="that of the catalogue")
    recommend.set_defaults(run=recommend_command.run, misuse=recommend.error)

    info = commands.add_parser("info", help="what an artifact or a catalogue holds")
    info.add_argument("dir", metavar="DIR", help="folder of an artifact or a catalogue")
    info.add_argument("--json", action="store_true", help="print the manifest")
    info.set_defaults(run=_info)


def _add_device_commands(commands: _Commands) -> None:
    """bench, host build: what is of this device."""
    bench = commands.add_parser("bench", help="how fast this device answers, stage by stage")
    bench.add_argument("--products", metavar="N", type=positive, default=10_000, help="to rank (default: %(default)s)")
    bench.add_argument(
        "--runs", metavar="N", type=positive, default=100, help="how many queries (default: %(default)s)"
    )
    bench.add_argument("--json", action="store_true", help="print one JSON object")
    _add_artifact(bench)
    bench.set_defaults(run=_bench)

    host = commands.add_parser("host", help="the engine inside a C or C++ program (needs clipshelf[host])")
    actions = host.add_subparsers(required=True, metavar="ACTION")
    build = actions.add_parser("build", help="build libclipshelf for this Python environment")
    build.add_argument(
        "--prefix", metavar="DIR", default="build/host", help="folder to install to (default: %(default)s)"
    )
    build.add_argument(
        "--cmake-option",
        metavar="-DNAME=VALUE",
        action="append",
        default=[],
        help="passed on to CMake, as often as needed",
    )
    build.set_defaults(run=_host_build)


def positive(text: str) -> int:
    """A whole number from 1 on, for argparse."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1 on, found {text!r}")
    return int(text)


def _add_artifact(parser: argparse.ArgumentParser, *, default: str = "the embedded one") -> None:
    parser.add_argument("--artifact", metavar="DIR", help=f"folder of the model (default: {default})")
    parser.add_argument("--threads", metavar="N", type=positive, help="threads of one inference (default: all CPUs)")


def _add_embedding(parser: argparse.ArgumentParser, *, default: str = "the embedded one") -> None:
    parser.add_argument(
        "--on-error",
        choices=("raise", "skip"),
        default="raise",
        help="at a bad product stop, or leave it out, say why and exit with 1 (default: %(default)s)",
    )
    for field in ("id", "text", "image"):
        parser.add_argument(
            f"--{field}-column", metavar="NAME", default=field, help=f"column of the {field} (default: %(default)s)"
        )
    _add_artifact(parser, default=default)


def _fields(args: argparse.Namespace) -> Fields:
    from clipshelf.catalogue.readers import Fields

    return Fields(id=args.id_column, text=args.text_column, image=args.image_column)


def _host_build(args: argparse.Namespace) -> int:
    from clipshelf.host.build import build

    library = build(Path(args.prefix), options=args.cmake_option)
    print(f"{library}; for CMake: -DCMAKE_PREFIX_PATH={Path(args.prefix).absolute()}")
    return 0


def _demo(args: argparse.Namespace) -> int:
    from clipshelf.cli.demo import run

    run(Path(args.html))
    return 0


def _index(args: argparse.Namespace) -> int:
    from clipshelf.catalogue.indexing import index
    from clipshelf.cli.progress import progress_bar
    from clipshelf.model.engine import Engine

    engine = Engine.load(args.artifact, threads=args.threads)
    with progress_bar("embedding", "product") as progress:
        catalogue = index(
            engine, args.products, Path(args.out), fields=_fields(args), on_error=args.on_error, progress=progress
        )
    return _told(args.out, catalogue)


def _change(args: argparse.Namespace) -> int:
    from clipshelf.catalogue.indexing import change
    from clipshelf.cli.progress import progress_bar
    from clipshelf.model.engine import Engine

    def how(catalogue: Catalogue) -> Catalogue:
        engine = Engine.load(args.artifact or catalogue.model, threads=args.threads)
        method = catalogue.add if args.command == "add" else catalogue.update
        return method(engine, args.products, fields=_fields(args), on_error=args.on_error, progress=progress)

    with progress_bar("embedding", "product") as progress:
        catalogue = change(Path(args.catalogue), how)
    return _told(args.catalogue, catalogue)


def _remove(args: argparse.Namespace) -> int:
    from clipshelf.catalogue.indexing import change

    return _told(args.catalogue, change(Path(args.catalogue), lambda catalogue: catalogue.remove(args.ids)))


def _verify(args: argparse.Namespace) -> int:
    from clipshelf.catalogue.catalogue import Catalogue
    from clipshelf.catalogue.disk.verify import find_problems

    problems = find_problems(Path(args.dir))
    for problem in problems:
        print(f"clipshelf: {problem}", file=sys.stderr)
    if not problems:
        print(f"{args.dir}: all is well with {len(Catalogue.load(args.dir))} products")
    return 1 if problems else 0


def _told(folder: str, catalogue: Catalogue) -> int:
    """Say what the catalogue is now and what was left out; the exit code."""
    print(f"{folder}: {len(catalogue)} products, {catalogue.dim} dimensions, model {catalogue.fingerprint}")
    for skipped in catalogue.skipped:
        print(f"clipshelf: left out product {skipped.id!r}: {' '.join(skipped.reason.split())}", file=sys.stderr)
    return 1 if catalogue.skipped else 0


def _bench(args: argparse.Namespace) -> int:
    from clipshelf.cli.device_bench import measure
    from clipshelf.model.engine import Engine

    found = measure(Engine.load(args.artifact, threads=args.threads), products=args.products, runs=args.runs)
    print(json.dumps(found.to_dict(), ensure_ascii=False) if args.json else found)
    return 0


def _info(args: argparse.Namespace) -> int:
    from clipshelf.cli.describe import describe, manifest

    folder = Path(args.dir)
    print(json.dumps(manifest(folder), indent=2, ensure_ascii=False) if args.json else describe(folder))
    return 0
