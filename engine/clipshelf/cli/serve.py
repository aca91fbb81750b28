"""`clipshelf serve`: an HTTP service and a page for one catalogue."""

from __future__ import annotations

import argparse
import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from clipshelf.cli.catalogue_folder import add_reading_options
from clipshelf.cli.options import Commands, add_engine_options, image_limits
from clipshelf.cli.service_options import add_service_options, require_service_packages, service_settings


def add_commands(commands: Commands) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser("serve", help="answer over HTTP, with a page to try it")
    parser.add_argument("catalogue", metavar="CATALOGUE", nargs="?", help="folder that `clipshelf index` wrote")
    parser.add_argument("--demo", action="store_true", help="serve the sample shelf instead")
    add_service_options(parser, writable=True)
    add_engine_options(parser, default="that of the catalogue")
    add_reading_options(parser)
    parser.set_defaults(run=_run, misuse=parser.error)


def _run(args: argparse.Namespace) -> int:
    if bool(args.catalogue) == args.demo:
        args.misuse("expected either a CATALOGUE or --demo")
    require_service_packages()
    from clipshelf.catalogue.catalogue import Catalogue
    from clipshelf.model.engine import Engine
    from clipshelf.serve.server import image_limits as service_limits
    from clipshelf.serve.server import run
    from clipshelf.serve.shelf import ShelfKeeper

    settings = service_settings(args)
    with _folder(args) as folder:
        limits = image_limits(args, service_limits(settings))
        path = args.artifact or Catalogue.load(folder).model_path()
        engine = Engine.load(path, threads=args.threads, limits=limits)
        root = None if args.root is None else Path(args.root)
        keeper = ShelfKeeper(engine, folder, root=root, allow_outside=args.allow_outside)
        return run(keeper, settings, limits)


@contextlib.contextmanager
def _folder(args: argparse.Namespace) -> Iterator[Path]:
    """The catalogue's folder; for the demo one with a copy of the sample shelf, which is removed at the end."""
    if not args.demo:
        yield Path(args.catalogue)
        return
    from clipshelf.bundled import shelf_path
    from clipshelf.catalogue.indexing import index
    from clipshelf.cli.progress import progress_bar
    from clipshelf.model.engine import Engine

    with tempfile.TemporaryDirectory(prefix="clipshelf-demo-") as name:
        shelf, folder = Path(name, "shelf"), Path(name, "catalogue")
        shutil.copytree(shelf_path(), shelf)
        with progress_bar("the sample shelf", "product") as progress:
            index(Engine.load(), shelf / "products.csv", folder, progress=progress)
        yield folder
