"""Options that several commands share."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

from clipshelf.display import one_line
from clipshelf.runtime.cpus import available_cpus

if TYPE_CHECKING:
    from clipshelf.catalogue.reading.readers import ProductFields
    from clipshelf.model.image_limits import ImageLimits

    Commands: TypeAlias = argparse._SubParsersAction[argparse.ArgumentParser]
else:
    Commands = object

# Stands before a value that looks like an option. No argument of a process holds this character.
_MARK = "\0"
# The commands that take ids as values, and the options of one letter that they have.
_COMMANDS_WITH_IDS = (("recommend",), ("remove",), ("scale", "remove"))
_SHORT_OPTIONS = ("-k", "-h")

_THREADS_PER_CPU, _THREADS = 16, 64  # more than the larger of the two numbers only slow a machine down
MOST_CPUS = 1024


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line of printable text after the usage."""

    def error(self, message: str) -> NoReturn:
        """Print an error and exit with 2."""
        super().error(one_line(message.replace(_MARK, "")))


def mark_values(argv: Sequence[str]) -> list[str]:
    """Mark the arguments that are values although they begin with a dash, such as the id -abc.

    Otherwise argparse takes them for options. One that begins with two dashes follows a `=`, as in `--like=--abc`.
    """
    if not any(tuple(argv[: len(command)]) == command for command in _COMMANDS_WITH_IDS):
        return list(argv)
    return [_MARK + argument if _is_value(argument) else argument for argument in argv]


def unmark(args: argparse.Namespace) -> argparse.Namespace:
    """Take the marks of `mark_values` away, in place."""
    for name, value in vars(args).items():
        setattr(args, name, _unmarked(value))
    return args


def _is_value(argument: str) -> bool:
    if len(argument) < 2 or argument[0] != "-" or argument[1] == "-" or argument.startswith(_SHORT_OPTIONS):
        return False
    return not argument[1:].replace(".", "", 1).isdecimal()  # which argparse itself takes for a number


def _unmarked(value: Any) -> Any:
    if isinstance(value, list):
        return [_unmarked(item) for item in value]
    return value.removeprefix(_MARK) if isinstance(value, str) else value


def thread_count(text: str) -> int:
    """A number of threads, for argparse."""
    most = max(_THREADS, _THREADS_PER_CPU * available_cpus())
    count = positive(text)
    if count > most:
        raise argparse.ArgumentTypeError(f"expected at most {most} threads on this machine, found {count}")
    return count


def positive(text: str) -> int:
    """A whole number from 1 on, for argparse."""
    if not text.isdecimal() or len(text) > 18 or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1 on, found {text!r}")
    return int(text)


def add_engine_options(parser: argparse.ArgumentParser, *, default: str = "the embedded one") -> None:
    """Add --artifact and --threads; `default` says in the help which model is used without --artifact."""
    parser.add_argument(
        "--artifact", metavar="DIR", help=f"folder of the model, or org/name@revision on the hub (default: {default})"
    )
    parser.add_argument(
        "--threads", metavar="N", type=thread_count, help="threads of one inference (default: all CPUs)"
    )
    parser.add_argument(
        "--image-limit",
        metavar="NAME=VALUE",
        type=_image_limit,
        action="append",
        default=[],
        help="what a picture may cost, such as pixels=200000000 or formats=JPEG,PNG; may be repeated; docs/pictures.md "
        "has the names (default: safe limits)",
    )


def image_limits(args: argparse.Namespace, base: ImageLimits | None = None) -> ImageLimits:
    """The limits that the options set; others as in `base`, or safe ones."""
    from clipshelf.model.image_limits import default_limits

    return (base or default_limits()).with_values(dict(args.image_limit))


def add_embedding_options(parser: argparse.ArgumentParser, *, default: str = "the embedded one") -> None:
    """Add what commands that embed products take: --on-error, the names of columns, and the engine's options."""
    parser.add_argument(
        "--on-error",
        choices=("raise", "skip", "keep-text"),
        default="raise",
        help="at a bad product stop, or leave it out, say why and exit with 1; keep-text leaves out the picture alone, "
        "where there is a text (default: %(default)s)",
    )
    add_product_options(parser, default=default)


def add_removal_options(parser: argparse.ArgumentParser) -> None:
    """Add --on-error of commands that remove products."""
    parser.add_argument(
        "--on-error",
        choices=("raise", "skip"),
        default="raise",
        help="at an id that the catalogue does not have stop, or go on and exit with 1 (default: %(default)s)",
    )


def add_product_options(parser: argparse.ArgumentParser, *, default: str = "the embedded one") -> None:
    """Add the names of columns and the engine's options."""
    parser.add_argument("--id-column", metavar="NAME", default="id", help="column of the id (default: %(default)s)")
    for field in ("text", "image"):
        parser.add_argument(
            f"--{field}-column",
            metavar="NAME",
            action="append",
            help=f"column of the {field} (default: {field}); may be repeated for products with several, the most "
            "important one first",
        )
        parser.add_argument(
            f"--{field}-separator", metavar="TEXT", help=f"what stands between several {field}s in one cell, such as |"
        )
    parser.add_argument(
        "--falloff",
        metavar="SHARE",
        type=share,
        help="how much each further text or picture of a product counts beside the one before it, 1 for as much "
        "(default: that of the catalogue, else 0.7)",
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
    parser.add_argument(
        "--words",
        metavar="COLUMN",
        action="append",
        default=[],
        help="index the words of a column, so that texts of queries find its codes and names (docs/shop.md); may be "
        "repeated, for the column of the text too",
    )
    parser.add_argument("--encoding", metavar="NAME", help="encoding of a CSV or JSON file (default: found out)")
    parser.add_argument(
        "--delimiter",
        metavar="CHAR",
        type=_delimiter,
        help="what stands between the cells of a CSV (default: found out)",
    )
    parser.add_argument(
        "--unpacked-bytes",
        metavar="BYTES",
        type=int,
        help="the most that a file compressed by gzip may unpack to (default: 100 times its size, or 64 MiB)",
    )
    add_engine_options(parser, default=default)


def add_waiting_option(parser: argparse.ArgumentParser) -> None:
    """Add --wait."""
    parser.add_argument(
        "--wait", metavar="SECONDS", type=seconds, default=0.0, help="how long to wait for another writer (default: 0)"
    )


def add_writing_options(parser: argparse.ArgumentParser) -> None:
    """Add --allow-shrink and --wait."""
    parser.add_argument(
        "--allow-shrink",
        metavar="SHARE",
        type=share,
        default=0.1,
        help="0 to 1: how much of its products, pictures or texts a catalogue may lose (default: %(default)s)",
    )
    add_waiting_option(parser)


def product_fields(args: argparse.Namespace) -> ProductFields:
    """What the options say about the columns and the file."""
    from clipshelf.catalogue.reading.readers import ProductFields

    return ProductFields(
        id=args.id_column,
        text=args.text_column or "text",
        image=args.image_column or "image",
        columns=dict(args.column),
        words=args.words,
        encoding=args.encoding,
        delimiter=args.delimiter,
        unpacked_bytes=args.unpacked_bytes,
        text_separator=args.text_separator,
        image_separator=args.image_separator,
        falloff=args.falloff,
    )


def share(text: str) -> float:
    """A share from 0 to 1, for argparse."""
    return _number(text, 1.0, "a share from 0 to 1")


def seconds(text: str) -> float:
    """Seconds from 0 on, for argparse."""
    return _number(text, math.inf, "seconds from 0 on")


def cpu_count(text: str) -> float:
    """A number of CPUs, which may be a part of one, for argparse."""
    return _number(text, MOST_CPUS, f"a number of CPUs from 0 to {MOST_CPUS}")


def _number(text: str, most: float, expected: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= most:
        raise argparse.ArgumentTypeError(f"expected {expected}, found {text!r}")
    return value


def _declaration(text: str) -> tuple[str, str]:
    """The name and declaration of a column, for argparse. A name may hold colons, a kind begins after one."""
    from clipshelf.catalogue.typed_columns.kinds import KINDS, check_declarations
    from clipshelf.errors import InputError

    match = re.fullmatch(rf"(?P<name>.+?):(?P<declaration>(?:{'|'.join(KINDS)})(?::.*)?)", text, re.DOTALL)
    if match is None:
        raise argparse.ArgumentTypeError(f"expected NAME:KIND, KIND one of {', '.join(KINDS)}, found {text!r}")
    try:
        check_declarations({match["name"]: match["declaration"]})
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return match["name"], match["declaration"]


def _image_limit(text: str) -> tuple[str, Any]:
    """The name and value of a limit on pictures, for argparse."""
    from clipshelf.errors import InputError
    from clipshelf.model.image_limits import ImageLimits

    name, _, given = text.partition("=")
    try:
        value: Any = [part.strip() for part in given.split(",")] if name == "formats" else _limit_number(given)
        ImageLimits().with_values({name: value})
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return name, value


def _limit_number(text: str) -> float:
    if text.isdecimal() and len(text) <= 18:
        return int(text)
    return _number(text, math.inf, "NAME=VALUE, VALUE a number above 0")


def _delimiter(text: str) -> str:
    """One character between cells, for argparse; a tab may be written as \\t."""
    delimiter = "\t" if text in ("\\t", "tab") else text
    if len(delimiter) != 1:
        raise argparse.ArgumentTypeError(f"expected one character, or \\t for a tab, found {text!r}")
    return delimiter
