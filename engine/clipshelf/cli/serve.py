"""`clipshelf serve`: an HTTP service and a page for one catalogue."""

from __future__ import annotations

import argparse
import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from clipshelf.cli.catalogue_folder import add_reading_options
from clipshelf.cli.options import Commands, add_engine_options, image_limits
from clipshelf.errors import MissingExtra

if TYPE_CHECKING:
    from clipshelf.model.engine import Engine
    from clipshelf.model.image_limits import ImageLimits


def add_commands(commands: Commands) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser("serve", help="answer over HTTP, with a page to try it")
    parser.add_argument("catalogue", metavar="CATALOGUE", nargs="?", help="folder that `clipshelf index` wrote")
    parser.add_argument("--demo", action="store_true", help="serve the sample shelf instead")
    parser.add_argument("--host", metavar="ADDRESS", default="127.0.0.1", help="(default: %(default)s)")
    parser.add_argument("--port", metavar="N", type=int, default=8000, help="0 for a free one (default: %(default)s)")
    add_engine_options(parser, default="that of the catalogue")
    add_reading_options(parser)
    parser.set_defaults(run=_run, misuse=parser.error)


def _run(args: argparse.Namespace) -> int:
    if bool(args.catalogue) == args.demo:
        args.misuse("expected either a CATALOGUE or --demo")
    try:
        from clipshelf.serve import server
    except ImportError as error:
        raise MissingExtra(
            f"expected the packages of the extra serve, found no {error.name}: pip install 'clipshelf[serve]'"
        ) from error
    from clipshelf.serve.settings import Settings
    from clipshelf.serve.shelf import ShelfKeeper

    settings = Settings(host=args.host, port=args.port)
    with _folder(args) as folder:
        limits = image_limits(args, server.image_limits(settings))
        engine = _engine(args, limits, folder)
        root = None if args.root is None else Path(args.root)
        keeper = ShelfKeeper(engine, folder, root=root, allow_outside=args.allow_outside)
        return server.run(keeper, settings, limits)


@contextlib.contextmanager
def _folder(args: argparse.Namespace) -> Iterator[Path]:
    """The catalogue's folder; for the demo one that is made now and removed at the end."""
    if not args.demo:
        yield Path(args.catalogue)
        return
    from clipshelf.bundled import shelf_path
    from clipshelf.catalogue.indexing import index
    from clipshelf.cli.progress import progress_bar
    from clipshelf.model.engine import Engine

    with tempfile.TemporaryDirectory(prefix="clipshelf-demo-") as folder:
        with progress_bar("the sample shelf", "product") as progress:
            index(Engine.load(), shelf_path() / "products.csv", folder, progress=progress)
        yield Path(folder)


def _engine(args: argparse.Namespace, limits: ImageLimits, folder: Path) -> Engine:
    from clipshelf.catalogue.catalogue import Catalogue
    from clipshelf.model.engine import Engine

    path = args.artifact or Catalogue.load(folder).model_path()
    return Engine.load(path, threads=args.threads, limits=limits)
