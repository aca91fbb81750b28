"""Options that several commands share."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from clipshelf.catalogue.readers import ProductFields

    Commands: TypeAlias = argparse._SubParsersAction[argparse.ArgumentParser]
else:
    Commands = object


def positive(text: str) -> int:
    """A whole number from 1 on, for argparse."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1 on, found {text!r}")
    return int(text)


def add_engine_options(parser: argparse.ArgumentParser, *, default: str = "the embedded one") -> None:
    """Add --artifact and --threads; `default` says in the help which model is used without --artifact."""
    parser.add_argument("--artifact", metavar="DIR", help=f"folder of the model (default: {default})")
    parser.add_argument("--threads", metavar="N", type=positive, help="threads of one inference (default: all CPUs)")


def add_embedding_options(parser: argparse.ArgumentParser, *, default: str = "the embedded one") -> None:
    """Add what commands that embed products take: --on-error, the names of columns, and the engine's options."""
    parser.add_argument(
        "--on-error",
        choices=("raise", "skip"),
        default="raise",
        help="at a bad product stop, or leave it out, say why and exit with 1 (default: %(default)s)",
    )
    for field in ("id", "text", "image"):
        parser.add_argument(
            f"--{field}-column", metavar="NAME", default=field, help=f"column of the {field} (default: %(default)s)"
        )
    add_engine_options(parser, default=default)


def product_fields(args: argparse.Namespace) -> ProductFields:
    """The columns that --id-column, --text-column and --image-column name."""
    from clipshelf.catalogue.readers import ProductFields

    return ProductFields(id=args.id_column, text=args.text_column, image=args.image_column)
