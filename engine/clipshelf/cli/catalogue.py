"""`clipshelf index`, `add`, `update`, `remove`: what writes a catalogue; `verify`: what checks it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from clipshelf.cli.options import Commands, add_embedding_options, product_fields

if TYPE_CHECKING:
    from clipshelf.catalogue.catalogue import Catalogue
    from clipshelf.failures import Failure, OnError

_PRODUCTS = "CSV, JSON Lines or Parquet file with columns text, image or both; id and all others are kept"
_FOLDER = "folder that `clipshelf index` wrote"


def add_commands(commands: Commands) -> None:
    """Add the commands to the parser."""
    index = commands.add_parser("index", help="embed products into a catalogue")
    index.add_argument("products", metavar="PRODUCTS", help=_PRODUCTS)
    index.add_argument("out", metavar="OUT", help="folder of the catalogue")
    add_embedding_options(index)
    index.set_defaults(run=_index)

    for command, text in (("add", "put more products into a catalogue"), ("update", "replace products by their ids")):
        change = commands.add_parser(command, help=text)
        change.add_argument("catalogue", metavar="CATALOGUE", help=_FOLDER)
        change.add_argument("products", metavar="PRODUCTS", help=_PRODUCTS)
        add_embedding_options(change, default="that of the catalogue")
        change.set_defaults(run=_add_or_update, command=command)

    remove = commands.add_parser("remove", help="take products out of a catalogue")
    remove.add_argument("catalogue", metavar="CATALOGUE", help=_FOLDER)
    remove.add_argument("ids", metavar="ID", nargs="+", help="id of a product")
    remove.set_defaults(run=_remove)

    verify = commands.add_parser("verify", help="check every byte of a catalogue")
    verify.add_argument("dir", metavar="DIR", help=_FOLDER)
    verify.set_defaults(run=_verify)


def _index(args: argparse.Namespace) -> int:
    from clipshelf.catalogue.indexing import index
    from clipshelf.cli.progress import progress_bar
    from clipshelf.model.engine import Engine

    engine = Engine.load(args.artifact, threads=args.threads)
    failures: list[Failure] = []
    with progress_bar("embedding", "product") as progress:
        catalogue = index(
            engine,
            args.products,
            Path(args.out),
            fields=product_fields(args),
            on_error=_policy(args, failures),
            progress=progress,
        )
    return _report(args.out, catalogue, failures)


def _add_or_update(args: argparse.Namespace) -> int:
    from clipshelf.catalogue.indexing import change
    from clipshelf.cli.progress import progress_bar
    from clipshelf.model.engine import Engine

    failures: list[Failure] = []

    def changed(catalogue: Catalogue) -> Catalogue:
        engine = Engine.load(args.artifact or catalogue.model, threads=args.threads)
        method = catalogue.add if args.command == "add" else catalogue.update
        return method(
            engine,
            args.products,
            fields=product_fields(args),
            on_error=_policy(args, failures),
            progress=progress,
        )

    with progress_bar("embedding", "product") as progress:
        catalogue = change(Path(args.catalogue), changed)
    return _report(args.catalogue, catalogue, failures)


def _remove(args: argparse.Namespace) -> int:
    from clipshelf.catalogue.indexing import change

    return _report(args.catalogue, change(Path(args.catalogue), lambda catalogue: catalogue.remove(args.ids)), [])


def _verify(args: argparse.Namespace) -> int:
    from clipshelf.catalogue.catalogue import Catalogue
    from clipshelf.catalogue.disk.verify import find_problems

    problems = find_problems(Path(args.dir))
    for problem in problems:
        print(f"clipshelf: {problem}", file=sys.stderr)
    if not problems:
        print(f"{args.dir}: all is well with {len(Catalogue.load(args.dir))} products")
    return 1 if problems else 0


def _policy(args: argparse.Namespace, failures: list[Failure]) -> OnError:
    """The error policy that --on-error names."""
    return failures.append if args.on_error == "skip" else "raise"


def _report(folder: str, catalogue: Catalogue, failures: Sequence[Failure]) -> int:
    """Print what the catalogue holds now and what was left out; return the exit code."""
    print(f"{folder}: {len(catalogue)} products, {catalogue.dim} dimensions, model {catalogue.fingerprint}")
    for failure in failures:
        print(f"clipshelf: left out product {failure.source!r}: {' '.join(failure.reason.split())}", file=sys.stderr)
    return 1 if failures else 0
