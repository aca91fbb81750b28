"""What commands that read a catalogue share: options for where its parts are, and how it and its model are opened."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from clipshelf.cli.options import image_limits

if TYPE_CHECKING:
    from clipshelf.catalogue.catalogue import Catalogue
    from clipshelf.model.engine import Engine
    from clipshelf.scale.catalogue import ShardedCatalogue


def add_reading_options(parser: argparse._ActionsContainer) -> None:
    """Add --root and --allow-outside."""
    parser.add_argument(
        "--root", metavar="DIR", help="folder that relative picture paths start from (default: that of the catalogue)"
    )
    parser.add_argument(
        "--allow-outside",
        action="store_true",
        help="show pictures outside that folder too, where the catalogue has some",
    )


def load_catalogue(args: argparse.Namespace) -> Catalogue:
    """Open the catalogue that --catalogue names, as --root and --allow-outside say."""
    from clipshelf.catalogue.catalogue import Catalogue

    return Catalogue.load(args.catalogue, root=args.root, allow_outside=args.allow_outside)


def load_engine(args: argparse.Namespace, catalogue: Catalogue | ShardedCatalogue) -> Engine:
    """Open the model that --artifact names, else that of the catalogue."""
    from clipshelf.model.engine import Engine

    return open_engine(args, catalogue, Engine)


def open_engine(args: argparse.Namespace, catalogue: Catalogue | ShardedCatalogue, kind: type[Engine]) -> Engine:
    """The same, as an engine of some kind."""
    return kind.load(args.artifact or catalogue.model_path(), threads=args.threads, limits=image_limits(args))
