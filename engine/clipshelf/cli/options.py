"""Options that several commands share."""

from __future__ import annotations

import argparse
import re
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
    parser.add_argument(
        "--column",
        metavar="NAME:KIND",
        type=_declaration,
        action="append",
        default=[],
        help="kind of a column, instead of the one that its values show: bool, number, text, date, date:%%d.%%m.%%Y, "
        "numbers, texts; may be repeated",
    )
    parser.add_argument("--encoding", metavar="NAME", help="encoding of a CSV or JSON file (default: found out)")
    parser.add_argument(
        "--delimiter",
        metavar="CHAR",
        type=_delimiter,
        help="what stands between the cells of a CSV (default: found out)",
    )
    add_engine_options(parser, default=default)


def product_fields(args: argparse.Namespace) -> ProductFields:
    """What the options say about the columns and the file."""
    from clipshelf.catalogue.readers import ProductFields

    return ProductFields(
        id=args.id_column,
        text=args.text_column,
        image=args.image_column,
        columns=dict(args.column),
        encoding=args.encoding,
        delimiter=args.delimiter,
    )


def _declaration(text: str) -> tuple[str, str]:
    """The name and declaration of a column, for argparse. A name may hold colons, a kind begins after one."""
    from clipshelf.catalogue.kinds import KINDS, check_declarations
    from clipshelf.errors import InputError

    match = re.fullmatch(rf"(?P<name>.+?):(?P<declaration>(?:{'|'.join(KINDS)})(?::.*)?)", text, re.DOTALL)
    if match is None:
        raise argparse.ArgumentTypeError(f"expected NAME:KIND, KIND one of {', '.join(KINDS)}, found {text!r}")
    try:
        check_declarations({match["name"]: match["declaration"]})
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return match["name"], match["declaration"]


def _delimiter(text: str) -> str:
    """One character between cells, for argparse; a tab may be written as \\t."""
    delimiter = "\t" if text in ("\\t", "tab") else text
    if len(delimiter) != 1:
        raise argparse.ArgumentTypeError(f"expected one character, or \\t for a tab, found {text!r}")
    return delimiter
