"""Options of the commands that answer over HTTP, and the settings that they make."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from clipshelf.errors import MissingExtra

if TYPE_CHECKING:
    from clipshelf.serve.settings import Settings

_MEGABYTE = 1 << 20
_WHOLE = "(default: %(default)s)"


def add_service_options(parser: argparse.ArgumentParser, *, writable: bool) -> None:
    """Add the options of a service.

    - `writable`: whether it can change products, if --writable says so.
    """
    parser.add_argument("--host", metavar="ADDRESS", default="127.0.0.1", help="to listen on (default: %(default)s)")
    parser.add_argument("--port", metavar="N", type=int, default=8000, help="0 for a free one (default: %(default)s)")
    _add_access(parser.add_argument_group("access"), writable)
    _add_limits(parser.add_argument_group("limits"))


def service_settings(args: argparse.Namespace) -> Settings:
    """The settings that the options make; raises InputError."""
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


def require_service_packages() -> None:
    """Raise MissingExtra where the packages of a service are not installed."""
    try:
        import clipshelf.serve.server  # noqa: F401
    except ImportError as error:
        raise MissingExtra(
            f"expected the packages of the extra serve, found no {error.name}: pip install 'clipshelf[serve]'"
        ) from error


def _add_access(access: argparse._ArgumentGroup, writable: bool) -> None:
    access.add_argument(
        "--keys",
        metavar="FILE",
        help="lines of NAME KEY, then `write` for a key that may change products; needed unless only programs of this "
        "machine reach the address",
    )
    if writable:
        access.add_argument("--writable", action="store_true", help="let products be added, changed and removed")
    else:
        access.set_defaults(writable=False)
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
    limits.add_argument("--body-limit", metavar="MB", type=float, default=16.0, help=f"of a request {_WHOLE}")
    limits.add_argument(
        "--body-memory", metavar="MB", type=float, default=256.0, help=f"of all bodies at once {_WHOLE}"
    )
    limits.add_argument("--pixels", metavar="MP", type=float, default=40.0, help=f"megapixels of a picture {_WHOLE}")
    limits.add_argument("--decoders", metavar="N", type=int, help="pictures decoded at once (default: one a CPU)")
    limits.add_argument("--queue", metavar="N", type=int, default=128, help=f"queries that wait {_WHOLE}")
    limits.add_argument("--batch", metavar="N", type=int, default=32, help=f"queries computed together {_WHOLE}")
    limits.add_argument("--requests", metavar="N", type=int, default=256, help=f"requests at one time {_WHOLE}")
    limits.add_argument("--rate", metavar="R", type=float, help="requests a second of one key, or address without keys")
    limits.add_argument("--deadline", metavar="S", type=float, default=10.0, help=f"seconds for an answer {_WHOLE}")
    limits.add_argument(
        "--drain-delay",
        metavar="S",
        type=float,
        default=0.0,
        help=f"seconds between SIGTERM and the end of listening, for a load balancer to notice {_WHOLE}",
    )
    limits.add_argument(
        "--drain-timeout", metavar="S", type=float, default=10.0, help=f"seconds for requests in progress then {_WHOLE}"
    )
