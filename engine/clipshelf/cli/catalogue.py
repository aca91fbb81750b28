"""`clipshelf index`, `add`, `update`, `remove`: what writes a catalogue; `verify`: what checks it."""

from __future__ import annotations

import argparse
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from clipshelf.cli.catalogue_folder import load_engine
from clipshelf.cli.options import (
    Commands,
    add_embedding_options,
    add_removal_options,
    add_waiting_option,
    add_writing_options,
    image_limits,
    product_fields,
)
from clipshelf.cli.output import print_error, print_note
from clipshelf.errors import InputError

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
    add_writing_options(index)
    index.set_defaults(run=_index)

    for command, text in (
        ("add", "put more products into a catalogue"),
        ("update", "change fields of products, by their ids"),
    ):
        change = commands.add_parser(command, help=text)
        change.add_argument("catalogue", metavar="CATALOGUE", help=_FOLDER)
        change.add_argument("products", metavar="PRODUCTS", help=_PRODUCTS)
        add_embedding_options(change, default="that of the catalogue")
        add_writing_options(change)
        change.set_defaults(run=_add_or_update, command=command)

    remove = commands.add_parser("remove", help="take products out of a catalogue")
    remove.add_argument("catalogue", metavar="CATALOGUE", help=_FOLDER)
    remove.add_argument("ids", metavar="ID", nargs="+", help="id of a product")
    add_removal_options(remove)
    add_waiting_option(remove)
    remove.set_defaults(run=_remove)

    verify = commands.add_parser("verify", help="check every byte of a catalogue or a bundle")
    verify.add_argument("path", metavar="PATH", help=f"{_FOLDER}, or file that `clipshelf bundle` wrote")
    verify.add_argument(
        "--public-key", metavar="KEY.pem", help="require a bundle's signature by the owner of this Ed25519 key"
    )
    verify.set_defaults(run=_verify)


def _index(args: argparse.Namespace) -> int:
    from clipshelf.catalogue.indexing import index
    from clipshelf.cli.progress import progress_bar
    from clipshelf.model.engine import Engine

    engine = Engine.load(args.artifact, threads=args.threads, limits=image_limits(args))
    failures: list[Failure] = []
    with progress_bar("embedding", "product") as progress:
        catalogue = index(
            engine,
            args.products,
            Path(args.out),
            fields=product_fields(args),
            on_error=_policy(args, failures),
            keep_text=args.on_error == "keep-text",
            allow_shrink=args.allow_shrink,
            timeout=args.wait,
            on_warning=print_note,
            progress=progress,
        )
    return _report(args.out, catalogue, failures)


def _add_or_update(args: argparse.Namespace) -> int:
    from clipshelf.catalogue.indexing import change
    from clipshelf.cli.progress import progress_bar

    failures: list[Failure] = []

    def changed(catalogue: Catalogue) -> Catalogue:
        method = catalogue.add if args.command == "add" else catalogue.update
        return method(
            load_engine(args, catalogue),
            args.products,
            fields=product_fields(args),
            on_error=_policy(args, failures),
            keep_text=args.on_error == "keep-text",
            on_warning=print_note,
            progress=progress,
        )

    with progress_bar("embedding", "product") as progress:
        catalogue = change(Path(args.catalogue), changed, allow_shrink=args.allow_shrink, timeout=args.wait)
    return _report(args.catalogue, catalogue, failures)


def _remove(args: argparse.Namespace) -> int:
    from clipshelf.catalogue.indexing import change

    failures: list[Failure] = []

    def changed(catalogue: Catalogue) -> Catalogue:
        return catalogue.remove(args.ids, on_error=_policy(args, failures))

    catalogue = change(Path(args.catalogue), changed, timeout=args.wait)
    return _report(args.catalogue, catalogue, failures)


def _verify(args: argparse.Namespace) -> int:
    from clipshelf.catalogue.disk.manifest import read_manifest
    from clipshelf.catalogue.disk.verify import find_problems

    path = Path(args.path)
    if path.is_file() and tarfile.is_tarfile(path):
        return _verify_bundle(path, args.public_key)
    if args.public_key is not None:
        raise InputError("--public-key: expected a bundle, which may be signed, found a folder")
    problems = find_problems(path)
    return _report_problems(args.path, problems, 0 if problems else read_manifest(path).products)


def _verify_bundle(path: Path, public_key: str | None) -> int:
    from clipshelf.bundle import archive

    problems = archive.find_problems(path, None if public_key is None else Path(public_key))
    return _report_problems(str(path), problems, 0 if problems else archive.read_manifest(path).products)


def _report_problems(path: str, problems: Sequence[str], products: int) -> int:
    for problem in problems:
        print_error(problem)
    if not problems:
        print(f"{path}: all is well with {products} products")
    return 1 if problems else 0


def _policy(args: argparse.Namespace, failures: list[Failure]) -> OnError:
    """The error policy that --on-error names."""
    return "raise" if args.on_error == "raise" else failures.append


def _report(folder: str, catalogue: Catalogue, failures: Sequence[Failure]) -> int:
    """Print what the catalogue holds now, what changed and what was left out; return the exit code."""
    print(f"{folder}: {len(catalogue)} products, {catalogue.dim} dimensions, model {catalogue.fingerprint}")
    changes = catalogue.changes
    if changes is not None:
        print(f"{folder}: {changes}")
    for failure in failures:
        part = f"the {failure.part} of " if failure.part else ""
        print_error(f"left out {part}product {failure.source!r}: {failure.reason}")
    return 1 if failures else 0
