"""`clipshelf serve`: an HTTP service and a page for one catalogue."""

from __future__ import annotations

import argparse
import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from clipshelf.cli.catalogue_folder import add_reading_options
from clipshelf.cli.options import Commands, add_engine_options, image_limits
from clipshelf.errors import MissingExtra

if TYPE_CHECKING:
    from clipshelf.serve.settings import Settings

_MEGABYTE = 1 << 20


def add_commands(commands: Commands) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser("serve", help="answer over HTTP, with a page to try it")
    parser.add_argument("catalogue", metavar="CATALOGUE", nargs="?", help="folder that `clipshelf index` wrote")
    parser.add_argument("--demo", action="store_true", help="serve the sample shelf instead")
    parser.add_argument("--host", metavar="ADDRESS", default="127.0.0.1", help="to listen on (default: %(default)s)")
    parser.add_argument("--port", metavar="N", type=int, default=8000, help="0 for a free one (default: %(default)s)")
    _add_access(parser.add_argument_group("access"))
    _add_limits(parser.add_argument_group("limits"))
    add_engine_options(parser, default="that of the catalogue")
    add_reading_options(parser)
    parser.set_defaults(run=_run, misuse=parser.error)


def _add_access(access: argparse._ArgumentGroup) -> None:
    access.add_argument(
        "--keys",
        metavar="FILE",
        help="lines of NAME KEY, then `write` for a key that may change products; needed unless only programs of this "
        "machine reach the address",
    )
    access.add_argument("--writable", action="store_true", help="let products be added, changed and removed")
    access.add_argument(
        "--cors",
        metavar="ORIGIN",
        action="append",
        default=[],
        help="let pages of this origin call the service, such as https://shop.example; may be repeated",
    )
    access.add_argument(
        "--image-hosts",
        metavar="HOST[:PORT],...",
        default="",
        help="fetch pictures by URL from these hosts, at ports 80 and 443 or the one named; .example.org stands for "
        "all below it (default: from none)",
    )


def _add_limits(limits: argparse._ArgumentGroup) -> None:
    whole = "(default: %(default)s)"
    limits.add_argument("--body-limit", metavar="MB", type=float, default=16.0, help=f"of a request {whole}")
    limits.add_argument("--body-memory", metavar="MB", type=float, default=256.0, help=f"of all bodies at once {whole}")
    limits.add_argument("--pixels", metavar="MP", type=float, default=40.0, help=f"megapixels of a picture {whole}")
    limits.add_argument("--decoders", metavar="N", type=int, help="pictures decoded at once (default: one a CPU)")
    limits.add_argument("--queue", metavar="N", type=int, default=128, help=f"queries that wait {whole}")
    limits.add_argument("--batch", metavar="N", type=int, default=32, help=f"queries computed together {whole}")
    limits.add_argument("--requests", metavar="N", type=int, default=256, help=f"requests at one time {whole}")
    limits.add_argument("--rate", metavar="R", type=float, help="requests a second of one key, or address without keys")
    limits.add_argument("--deadline", metavar="S", type=float, default=10.0, help=f"seconds for an answer {whole}")
    limits.add_argument(
        "--drain-delay",
        metavar="S",
        type=float,
        default=0.0,
        help=f"seconds between SIGTERM and the end of listening, for a load balancer to notice {whole}",
    )
    limits.add_argument(
        "--drain-timeout", metavar="S", type=float, default=10.0, help=f"seconds for requests in progress then {whole}"
    )


def _run(args: argparse.Namespace) -> int:
    if bool(args.catalogue) == args.demo:
        args.misuse("expected either a CATALOGUE or --demo")
    try:
        from clipshelf.serve.server import image_limits as service_limits
        from clipshelf.serve.server import run
    except ImportError as error:
        raise MissingExtra(
            f"expected the packages of the extra serve, found no {error.name}: pip install 'clipshelf[serve]'"
        ) from error
    from clipshelf.catalogue.catalogue import Catalogue
    from clipshelf.model.engine import Engine
    from clipshelf.serve.shelf import ShelfKeeper

    settings = _settings(args)
    with _folder(args) as folder:
        limits = image_limits(args, service_limits(settings))
        path = args.artifact or Catalogue.load(folder).model_path()
        engine = Engine.load(path, threads=args.threads, limits=limits)
        root = None if args.root is None else Path(args.root)
        keeper = ShelfKeeper(engine, folder, root=root, allow_outside=args.allow_outside)
        return run(keeper, settings, limits)


def _settings(args: argparse.Namespace) -> Settings:
    from clipshelf.serve.image_hosts import ImageHost
    from clipshelf.serve.settings import Settings

    return Settings(
        host=args.host,
        port=args.port,
        keys=None if args.keys is None else Path(args.keys),
        writable=args.writable,
        cors=tuple(args.cors),
        image_hosts=tuple(ImageHost.parse(host.strip()) for host in args.image_hosts.split(",") if host.strip()),
        body_limit=round(args.body_limit * _MEGABYTE),
        body_memory=round(args.body_memory * _MEGABYTE),
        pixels=round(args.pixels * 1e6),
        decoders=args.decoders,
        queue=args.queue,
        batch=args.batch,
        requests=args.requests,
        rate=args.rate,
        deadline=args.deadline,
        drain_delay=args.drain_delay,
        drain_timeout=args.drain_timeout,
    )


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
