"""`clipshelf scale serve`: an HTTP service and a page for a sharded catalogue, whose shards are actors of Ray."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from clipshelf.cli.catalogue_folder import add_reading_options
from clipshelf.cli.options import Commands, add_engine_options, cpu_count, image_limits, positive, seconds, thread_count
from clipshelf.cli.service_options import add_service_options, require_service_packages, service_settings

if TYPE_CHECKING:
    from clipshelf.scale.catalogue import ShardedCatalogue
    from clipshelf.scale.shards import Shards

_ENDING_SECONDS = 15.0  # of the actors and of a cluster that this process started


def add_action(actions: Commands) -> None:
    """Add the action to `clipshelf scale`."""
    parser = actions.add_parser("serve", help="answer over HTTP from a sharded catalogue, on Ray")
    parser.add_argument("catalogue", metavar="OUT", help="folder that `clipshelf scale index` wrote")
    shards = parser.add_argument_group("shards")
    shards.add_argument("--replicas", metavar="N", type=positive, default=1, help="of a shard (default: %(default)s)")
    shards.add_argument(
        "--address", metavar="ADDRESS", help="of a Ray cluster, such as auto (default: start one on this machine)"
    )
    shards.add_argument(
        "--shard-threads", metavar="N", type=thread_count, default=1, help="of one search (default: %(default)s)"
    )
    shards.add_argument(
        "--cpus",
        metavar="C",
        type=cpu_count,
        help="that each replica reserves on the cluster (default: its threads; none on a cluster of this command)",
    )
    shards.add_argument(
        "--patience",
        metavar="S",
        type=seconds,
        help="seconds after which an answer comes without a shard that is lost, above 0 and below the deadline "
        "(default: half of it)",
    )
    add_service_options(parser, writable=False)
    add_engine_options(parser, default="that of the catalogue")
    add_reading_options(parser)
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    require_service_packages()
    from clipshelf.errors import InputError
    from clipshelf.model.engine import Engine
    from clipshelf.scale.catalogue import ShardedCatalogue
    from clipshelf.scale.keeper import ShardedKeeper
    from clipshelf.scale.ray_runtime import connected
    from clipshelf.serve.server import answer_requests, end_soon, log_requests
    from clipshelf.serve.server import image_limits as service_limits

    settings = service_settings(args)
    patience = settings.deadline / 2 if args.patience is None else args.patience
    if not 0 < patience < settings.deadline:
        raise InputError(
            f"--patience: expected seconds above 0 and below the deadline of {settings.deadline:g}, found {patience:g}"
        )
    limits = image_limits(args, service_limits(settings))
    folder = Path(args.catalogue).absolute()
    engine = Engine.load(args.artifact or ShardedCatalogue(folder).model_path(), threads=args.threads, limits=limits)
    log_requests()
    with connected(args.address):
        keeper = ShardedKeeper(
            engine,
            folder,
            partial(_open_shards, args, patience),
            root=None if args.root is None else Path(args.root),
            allow_outside=args.allow_outside,
            patience=2 * settings.deadline,
        )
        try:
            answer_requests(keeper, settings, limits)
            # Before anything of Ray ends, which may wait for a generation that is being opened.
            end_soon(_ENDING_SECONDS)
        finally:
            keeper.close()
    return 0


def _open_shards(args: argparse.Namespace, patience: float, catalogue: ShardedCatalogue) -> Shards:
    """The actors of a generation."""
    from clipshelf.scale.ray_shards import RayShards
    from clipshelf.scale.watched_shards import WatchedShards

    default_cpus = 0.0 if args.address is None else float(args.shard_threads)
    return WatchedShards(
        RayShards(
            catalogue,
            replicas=args.replicas,
            threads=args.shard_threads,
            cpus=default_cpus if args.cpus is None else args.cpus,
            patience=patience,
        )
    )
