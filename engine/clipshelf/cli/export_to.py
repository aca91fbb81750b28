"""`clipshelf export-to postgres`: writes a catalogue to a database."""

from __future__ import annotations

import argparse
from pathlib import Path

from clipshelf.cli.options import Commands
from clipshelf.errors import MissingExtra


def add_commands(commands: Commands) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser("export-to", help="write a catalogue to PostgreSQL with pgvector")
    targets = parser.add_subparsers(required=True, metavar="TARGET")
    postgres = targets.add_parser("postgres", help="a table of PostgreSQL with pgvector (needs clipshelf[postgres])")
    postgres.add_argument("catalogue", metavar="CATALOGUE", help="folder that `clipshelf index` wrote")
    postgres.add_argument(
        "--dsn",
        metavar="ADDRESS",
        default="",
        help="of the database, such as postgresql://user@host/shop (default: PGHOST, PGDATABASE and so on, as in psql)",
    )
    postgres.add_argument("--name", metavar="NAME", help="of the catalogue there (default: that of its folder)")
    postgres.add_argument(
        "--precision",
        choices=("vector", "halfvec"),
        default="vector",
        help="float32, or float16 in half the space with scores that differ a little (default: %(default)s)",
    )
    postgres.add_argument(
        "--index", action="store_true", help="build an HNSW index too, for quick searches that are not exact"
    )
    postgres.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    from clipshelf.catalogue.catalogue import Catalogue
    from clipshelf.cli.progress import progress_bar

    try:
        from clipshelf.postgres.tables import export_catalogue
    except ImportError as error:
        raise MissingExtra(
            f"expected the packages of the extra postgres, found no {error.name}: pip install 'clipshelf[postgres]'"
        ) from error
    catalogue = Catalogue.load(args.catalogue)
    name = args.name or Path(args.catalogue).resolve().name.lower()
    with progress_bar("writing", "product") as progress:
        done = export_catalogue(
            catalogue, args.dsn, name, precision=args.precision, index=args.index, progress=progress
        )
    index = "with an HNSW index" if done.indexed else "without an index"
    stored = [
        f"{done.count:,} products as {name}",
        f"{done.precision} {index}",
        f"{len(done.columns)} columns for filters",
    ]
    if word_columns := catalogue.contents.word_columns:
        stored.append(f"words of {', '.join(word_columns)}")
    print(", ".join(stored))
    return 0
