"""`clipshelf scale`: makes, changes and serves catalogues in shards."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from clipshelf.cli import scale_serve
from clipshelf.cli.catalogue_folder import load_engine
from clipshelf.cli.options import (
    Commands,
    add_embedding_options,
    add_product_options,
    add_removal_options,
    add_waiting_option,
    add_writing_options,
    image_limits,
    positive,
    product_fields,
    share,
)
from clipshelf.cli.output import print_error

if TYPE_CHECKING:
    from clipshelf.failures import Failure
    from clipshelf.scale.catalogue import ShardedCatalogue

_FOLDER = "folder that `clipshelf scale index` wrote"


def add_commands(commands: Commands) -> None:
    """Add the command and its subcommands to the parser."""
    parser = commands.add_parser("scale", help="catalogues in shards, past one machine")
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    index = actions.add_parser("index", help="embed products into a sharded catalogue, on Ray")
    index.add_argument("source", metavar="SOURCE", help="file or folder of products: a path, or a URI such as s3://...")
    index.add_argument("out", metavar="OUT", help="folder of the catalogue, on a file system that all nodes share")
    _add_shards(index)
    index.add_argument("--workers", metavar="N", type=positive, default=1, help="engines (default: %(default)s)")
    index.add_argument("--provider", metavar="NAME", default="cpu", help="of each engine (default: %(default)s)")
    index.add_argument(
        "--address", metavar="ADDRESS", help="of a Ray cluster, such as auto (default: start one on this machine)"
    )
    index.add_argument(
        "--allow-shrink",
        metavar="SHARE",
        type=share,
        default=0.1,
        help="0 to 1: how much of its products a catalogue may lose (default: %(default)s)",
    )
    index.add_argument(
        "--on-error",
        choices=("skip", "keep-text"),
        default="skip",
        help="a bad product is left out, with the reason, and the exit code is 1; keep-text leaves out the picture "
        "alone, where there is a text (default: %(default)s)",
    )
    add_product_options(index)
    add_waiting_option(index)
    index.set_defaults(run=_index)

    divide = actions.add_parser("split", help="make a sharded catalogue of an ordinary one; nothing is embedded")
    divide.add_argument("catalogue", metavar="CATALOGUE", help="folder that `clipshelf index` wrote")
    divide.add_argument("out", metavar="OUT", help="folder of the sharded catalogue")
    _add_shards(divide)
    add_waiting_option(divide)
    divide.set_defaults(run=_split)

    add = actions.add_parser("add", help="put more products into a sharded catalogue")
    update = actions.add_parser("update", help="change fields of products, by their ids")
    for edit in (add, update):
        edit.add_argument("catalogue", metavar="CATALOGUE", help=_FOLDER)
        edit.add_argument("products", metavar="PRODUCTS", help="file of products")
        add_embedding_options(edit, default="that of the catalogue")
    add_waiting_option(add)
    add_writing_options(update)
    add.set_defaults(run=_add)
    update.set_defaults(run=_update)

    remove = actions.add_parser("remove", help="take products out of a sharded catalogue")
    remove.add_argument("catalogue", metavar="CATALOGUE", help=_FOLDER)
    remove.add_argument("ids", metavar="ID", nargs="+", help="id of a product")
    add_removal_options(remove)
    add_waiting_option(remove)
    remove.set_defaults(run=_remove)

    scale_serve.add_action(actions)


def _add_shards(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--shards", metavar="N", type=positive, default=4, help="number of shards (default: %(default)s)"
    )


def _index(args: argparse.Namespace) -> int:
    from clipshelf.cli.progress import progress_bar
    from clipshelf.model.engine import Engine
    from clipshelf.scale.indexing import index_shards
    from clipshelf.scale.ray_indexing import RayExecutor
    from clipshelf.scale.ray_runtime import connected

    engine = Engine.load(args.artifact, threads=args.threads, limits=image_limits(args))
    with connected(args.address), progress_bar("embedding", "product") as progress:
        catalogue, failures = index_shards(
            engine,
            args.source,
            args.out,
            args.shards,
            RayExecutor(args.workers, args.threads or 1, args.provider),
            fields=product_fields(args),
            keep_text=args.on_error == "keep-text",
            allow_shrink=args.allow_shrink,
            timeout=args.wait,
            progress=progress,
        )
    return _report(catalogue, failures)


def _split(args: argparse.Namespace) -> int:
    from clipshelf.catalogue.catalogue import Catalogue
    from clipshelf.scale.writing import split

    return _report(split(Catalogue.load(args.catalogue), args.out, args.shards, timeout=args.wait), ())


def _add(args: argparse.Namespace) -> int:
    from clipshelf.scale.edits import add_products

    return _edit(args, add_products)


def _update(args: argparse.Namespace) -> int:
    from clipshelf.scale.edits import update_products

    return _edit(args, partial(update_products, allow_shrink=args.allow_shrink))


def _edit(args: argparse.Namespace, edit: Callable[..., ShardedCatalogue]) -> int:
    from clipshelf.scale.catalogue import ShardedCatalogue

    failures: list[Failure] = []
    catalogue = edit(
        args.catalogue,
        load_engine(args, ShardedCatalogue(args.catalogue)),
        args.products,
        fields=product_fields(args),
        on_error="raise" if args.on_error == "raise" else failures.append,
        keep_text=args.on_error == "keep-text",
        timeout=args.wait,
    )
    return _report(catalogue, failures)


def _remove(args: argparse.Namespace) -> int:
    from clipshelf.scale.edits import remove_products

    failures: list[Failure] = []
    catalogue = remove_products(
        args.catalogue,
        args.ids,
        on_error="raise" if args.on_error == "raise" else failures.append,
        timeout=args.wait,
    )
    return _report(catalogue, failures)


def _report(catalogue: ShardedCatalogue, failures: Sequence[Failure]) -> int:
    """Print what the catalogue holds now and what was left out; return the exit code."""
    print(
        f"{catalogue.folder}: {len(catalogue)} products in {catalogue.shards} shards, {catalogue.dim} dimensions, "
        f"model {catalogue.fingerprint}, generation {catalogue.manifest.generation}"
    )
    for failure in failures:
        part = f"the {failure.part} of " if failure.part else ""
        print_error(f"left out {part}product {failure.source!r}: {failure.reason}")
    return 1 if failures else 0
