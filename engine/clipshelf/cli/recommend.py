"""`clipshelf recommend`: a query in options, and its answer as a table, JSON or a page."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clipshelf.cli.catalogue_folder import add_reading_options, load_catalogue, load_engine
from clipshelf.cli.options import Commands, add_engine_options, share
from clipshelf.cli.output import print_json, print_note
from clipshelf.display import describe
from clipshelf.errors import InputError

if TYPE_CHECKING:
    from clipshelf.recommend.query import Query
    from clipshelf.recommend.recommender import Recommender
    from clipshelf.scale.recommender import ShardedRecommender

_SIGNALS = ("text", "image", "like", "dislike", "history", "profile")
_WEIGHTS = "text, image, liked, disliked, history, or query side then product side: text_text, text_image and so on"
_MIN_RELEVANCE = "0 to 1: leave out products of a lower relevance, such as 0.9 (default: %(default)s)"
_HALF_LIFE = "after which history counts half (default: %(default)s)"
_DIVERSITY = "0 to 1: how much fit may be given up for products unlike each other (default: %(default)s)"


def add_commands(commands: Commands) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser("recommend", help="products that fit words, pictures and what a person liked")
    parser.add_argument(
        "--catalogue",
        metavar="DIR",
        required=True,
        help="folder that `clipshelf index` or `clipshelf scale index` wrote",
    )
    _add_signals(parser.add_argument_group("signals", "each may come several times; at least one is needed"))
    limits = parser.add_argument_group("limits")
    limits.add_argument("-k", metavar="N", type=int, default=10, help="how many (default: %(default)s)")
    limits.add_argument(
        "--where",
        metavar="TEST",
        action="append",
        default=[],
        help="such as 'price<100 and category in (shoes, hats)'; docs/filters.md has the language; all must hold",
    )
    limits.add_argument("--min-relevance", metavar="R", type=share, default=0.0, help=_MIN_RELEVANCE)
    limits.add_argument("--exclude", metavar="ID", action="append", default=[], help="a product not to be answered")
    limits.add_argument(
        "--unknown",
        choices=("raise", "ignore"),
        default="raise",
        help="at an id that the catalogue does not have stop, or go on without it and say so (default: %(default)s); "
        "those of --exclude and --profile are always ignored",
    )
    limits.add_argument("--exclude-bought", action="store_true", help="nor what the profile's person bought")
    how = parser.add_argument_group("how")
    how.add_argument("--weights", metavar="NAME=W,...", help=f"such as text=1,image=0.5; of {_WEIGHTS}")
    how.add_argument("--half-life", metavar="DAYS", type=float, default=30, help=_HALF_LIFE)
    how.add_argument("--diversity", metavar="D", type=float, default=0.0, help=_DIVERSITY)
    _add_arrangement(parser.add_argument_group("arrangement"))
    out = parser.add_argument_group("output")
    out.add_argument("--explain", action="store_true", help="say what each signal added to each score")
    out.add_argument(
        "--probability",
        action="store_true",
        help="say how probably each product belongs to the texts and pictures, with a model that gives it (SigLIP)",
    )
    out.add_argument("--json", action="store_true", help="print one JSON object, as docs/json.md describes")
    out.add_argument("--html", metavar="FILE", help="write a page with the pictures too")
    add_engine_options(parser, default="that of the catalogue")
    add_reading_options(parser)
    parser.set_defaults(run=_run, misuse=parser.error)


def _add_arrangement(how: argparse._ArgumentGroup) -> None:
    how.add_argument(
        "--boost",
        metavar="COLUMN=W",
        action="append",
        default=[],
        help="add to scores by a column of numbers, up to W for the highest; may be negative, and be repeated",
    )
    how.add_argument(
        "--fresh",
        metavar="COLUMN=AGE",
        action="append",
        default=[],
        help="add to scores by a column of dates, half as much after AGE, such as 30d or 12h; may be repeated",
    )
    how.add_argument("--group-by", metavar="COLUMN", help="the best product of each value of a column")
    how.add_argument(
        "--group-members", metavar="N", type=int, default=0, help="in JSON list N others of each group (default: 0)"
    )


def _add_signals(signals: argparse._ArgumentGroup) -> None:
    signals.add_argument("--text", metavar="T", action="append", help="a review or a wish, in words")
    signals.add_argument("--image", metavar="F", action="append", help="a picture file")
    signals.add_argument(
        "--crop", metavar="L,T,R,B", help="the part of each picture that counts, such as 0.25,0,0.75,1 of its edges"
    )
    for name, text in (("like", "more like this product"), ("dislike", "less like this product")):
        signals.add_argument(
            f"--{name}",
            metavar=("ID", "STRENGTH"),
            nargs="+",
            action="append",
            default=[],
            help=f"{text}; strength 1 if not said",
        )
    signals.add_argument(
        "--history",
        metavar=("ID KIND TIME", "STARS"),
        nargs="+",
        action="append",
        default=[],
        help="what a person did: KIND is viewed, added_to_basket, bought or rated, TIME such as 2026-10-03",
    )
    signals.add_argument("--profile", metavar="FILE", help="a person's signals, as Profile.save writes them")


def _run(args: argparse.Namespace) -> int:
    if not any(getattr(args, name) for name in _SIGNALS):
        args.misuse("expected --text, --image, --like, --dislike, --history or --profile")
    from clipshelf.catalogue.disk.manifest import is_sharded
    from clipshelf.catalogue.messages import shorten_list
    from clipshelf.recommend.recommender import Recommender

    try:
        query = _query(args)
    except InputError as error:
        args.misuse(str(error))
    in_shards = is_sharded(Path(args.catalogue))
    if in_shards and args.html is not None:
        raise InputError("--html: expected the folder of an ordinary catalogue, found one in shards")
    recommender = _sharded(args) if in_shards else _whole(args)
    answer = recommender.answer(query)
    if args.json:
        print_json(answer.to_dict(explain=args.explain))
    else:
        print(answer.table(explain=args.explain))
    if answer.unknown_ids:
        print_note(f"ignored ids that the catalogue does not have: {shorten_list(map(describe, answer.unknown_ids))}")
    if isinstance(recommender, Recommender) and args.html is not None:
        from clipshelf.cli.html_page import Section, write_page

        section = Section("What fits", query, answer, recommender.catalogue)
        write_page(args.html, "Recommendations", f"from {args.catalogue}", [section])
    return 0


def _whole(args: argparse.Namespace) -> Recommender:
    """A recommender of an ordinary catalogue."""
    from clipshelf.recommend.recommender import Recommender

    catalogue = load_catalogue(args)
    return Recommender(load_engine(args, catalogue), catalogue, half_life=args.half_life)


def _sharded(args: argparse.Namespace) -> ShardedRecommender:
    """A recommender of a sharded catalogue, with all shards in this process."""
    from clipshelf.scale.catalogue import ShardedCatalogue
    from clipshelf.scale.recommender import ShardedRecommender

    catalogue = ShardedCatalogue(args.catalogue)
    return ShardedRecommender(load_engine(args, catalogue), catalogue, half_life=args.half_life)


def _query(args: argparse.Namespace) -> Query:
    """The query that the options describe. Raises InputError on one that no catalogue could answer."""
    from clipshelf.recommend.profile import Profile
    from clipshelf.recommend.query import Query

    return Query(
        text=args.text,
        image=args.image,
        liked=[_id_and_strength("--like", words) for words in args.like],
        disliked=[_id_and_strength("--dislike", words) for words in args.dislike],
        history=[_event(words) for words in args.history],
        profile=Profile.load(args.profile) if args.profile else None,
        k=args.k,
        where=_where(args.where),
        exclude=args.exclude,
        exclude_bought=args.exclude_bought,
        weights=dict(map(_weight, args.weights.split(","))) if args.weights else None,
        diversity=args.diversity,
        min_relevance=args.min_relevance,
        crop=[_number("--crop", text) for text in args.crop.split(",")] if args.crop else None,
        boost={name: _number("--boost", text) for name, text in _pairs("--boost", args.boost)},
        fresh=dict(_pairs("--fresh", args.fresh)),
        group_by=args.group_by,
        group_members=args.group_members,
        unknown=args.unknown,
        probability=args.probability,
    )


def _where(filters: list[str]) -> str | None:
    """One filter that holds where all of `filters` do."""
    from clipshelf.catalogue.filtering.filter_parser import parse_where

    keywords = [parse_where(text, {}).keys() for text in filters]  # each of them is a filter by itself
    if len(filters) == 1:
        return filters[0]
    parts = [f"({text})" if "or" in names else text for text, names in zip(filters, keywords, strict=True)]
    return " and ".join(parts) or None


def _id_and_strength(option: str, words: list[str]) -> Any:
    if len(words) > 2:
        raise InputError(f"{option}: expected one id and perhaps a strength, found {' '.join(words)}")
    return (words[0], _number(option, words[1])) if len(words) == 2 else words[0]


def _event(words: list[str]) -> tuple[Any, ...]:
    """An interaction from the words of one --history, which the query checks."""
    if len(words) not in (3, 4):
        raise InputError(f"--history: expected ID KIND TIME and perhaps STARS, found {' '.join(words)}")
    id_, kind, time, *stars = words
    return id_, kind, time, *(_number("--history", text) for text in stars)


def _pairs(option: str, texts: list[str]) -> list[tuple[str, str]]:
    """Names and values of an option of the form NAME=VALUE; the name may hold a =."""
    pairs = [text.rpartition("=")[::2] for text in texts]
    for text, (name, _) in zip(texts, pairs, strict=True):
        if not name:
            raise InputError(f"{option}: expected COLUMN=VALUE, found {describe(text)}")
    return pairs


def _weight(part: str) -> tuple[str, float]:
    name, _, value = part.partition("=")
    return name.strip(), _number("--weights", value)


def _number(option: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InputError(f"{option}: expected a number, found {describe(text)}") from None
