"""`clipshelf evaluate`: how good recommendations are on logged sessions, for settings and catalogues side by side."""

from __future__ import annotations

import argparse
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clipshelf.cli.catalogue_folder import open_engine
from clipshelf.cli.options import Commands, add_engine_options, positive
from clipshelf.cli.output import print_error, print_json, print_note

if TYPE_CHECKING:
    from clipshelf.catalogue.catalogue import Catalogue
    from clipshelf.evaluate.contenders import Contender
    from clipshelf.evaluate.evaluation import Evaluation
    from clipshelf.evaluate.sessions import Session
    from clipshelf.failures import Failure
    from clipshelf.recommend.recommender import Recommender

_FLOORS = ("popularity", "random")
_BOOST = "boost."


def add_commands(commands: Commands) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser("evaluate", help="measure recommendations on logged sessions")
    parser.add_argument("catalogue", metavar="CATALOGUE", help="folder that `clipshelf index` wrote")
    parser.add_argument("log", metavar="LOG", help="JSON Lines or CSV of sessions; docs/evaluate.md has the forms")
    parser.add_argument("-k", metavar="N", type=positive, default=10, help="products of a list (default: 10)")
    parser.add_argument(
        "--setting",
        metavar="NAME:VALUES",
        type=_setting,
        action="append",
        default=[],
        help="another way to answer, such as 'words:text=1,liked=0' or 'varied:diversity=0.3,boost.margin=0.2'; may be "
        "repeated",
    )
    parser.add_argument(
        "--beside",
        metavar="DIR",
        action="append",
        default=[],
        help="one more catalogue of the same products, such as one by another model; may be repeated",
    )
    parser.add_argument(
        "--search", action="store_true", help="find good weights on half of the sessions, and report on the other half"
    )
    parser.add_argument("--seed", metavar="N", type=int, default=0, help="of the halves, intervals and random products")
    parser.add_argument(
        "--on-error",
        choices=("raise", "skip"),
        default="raise",
        help="at a bad session stop, or leave it out, say why and exit with 1 (default: %(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object, as docs/evaluate.md describes")
    parser.add_argument("--html", metavar="FILE", help="write a page with plots too")
    add_engine_options(parser, default="that of each catalogue")
    parser.set_defaults(run=_run)


def _setting(text: str) -> tuple[str, dict[str, Any]]:
    """The name of a setting and the fields of queries that it changes, for argparse."""
    from clipshelf.errors import InputError
    from clipshelf.recommend.query import Query
    from clipshelf.recommend.weights import Weights

    name, _, given = text.partition(":")
    changes: dict[str, Any] = {}
    weights = {field.name for field in fields(Weights)}
    try:
        for part in given.split(","):
            key, _, value = (word.strip() for word in part.partition("="))
            if key in weights:
                changes.setdefault("weights", {})[key] = float(value)
            elif key.startswith(_BOOST):
                changes.setdefault("boost", {})[key.removeprefix(_BOOST)] = float(value)
            elif key == "diversity":
                changes[key] = float(value)
            else:
                raise InputError(f"expected a weight, diversity or boost.COLUMN, found {key!r}")
        Query.from_dict({"text": "x", **changes})
    except ValueError as error:  # InputError is one
        raise argparse.ArgumentTypeError(f"expected NAME:WEIGHT=VALUE,..., found {text!r}: {error}") from None
    if not name.strip():
        raise argparse.ArgumentTypeError(f"expected a name before the colon, found {text!r}")
    return name.strip(), changes


def _run(args: argparse.Namespace) -> int:
    from clipshelf.catalogue.catalogue import Catalogue
    from clipshelf.cli.evaluate_page import write_page
    from clipshelf.evaluate.evaluation import check_sessions

    catalogue = Catalogue.load(args.catalogue)
    failures: list[Failure] = []
    sessions = _sessions(args, catalogue, failures)
    check_sessions(sessions)
    evaluation = _evaluation(args, catalogue, sessions)
    if args.json:
        print_json(evaluation.to_dict())
    else:
        _print(evaluation)
    if args.html:
        write_page(args.html, f"{Path(args.catalogue).resolve().name}: {Path(args.log).name}", evaluation)
    for failure in failures:
        print_error(f"left out {failure.reason}")
    return 1 if failures else 0


def _sessions(args: argparse.Namespace, catalogue: Catalogue, failures: list[Failure]) -> list[Session]:
    from clipshelf.catalogue.reading.readers import DEFAULT_FIELDS, read_source
    from clipshelf.evaluate.sessions import read_sessions

    source = read_source(args.log, DEFAULT_FIELDS)
    for warning in source.warnings:
        print_note(warning)
    return read_sessions(source.records, catalogue, on_error=failures.append if args.on_error == "skip" else "raise")


def _evaluation(args: argparse.Namespace, catalogue: Catalogue, sessions: list[Session]) -> Evaluation:
    from clipshelf.catalogue.catalogue import Catalogue as Beside
    from clipshelf.cli.progress import progress_bar
    from clipshelf.evaluate.contenders import Popularity, Random, RecommenderContender
    from clipshelf.evaluate.evaluation import evaluate
    from clipshelf.evaluate.weight_search import halves, search_weights

    recommender = _recommender(args, catalogue)
    contenders: dict[str, Contender] = {"default": RecommenderContender(recommender)}
    for name, changes in args.setting:
        _add(contenders, name, RecommenderContender(recommender, changes))
    for folder in args.beside:
        _add(contenders, folder, RecommenderContender(_recommender(args, Beside.load(folder))))
    counted, weights = sessions, None
    if args.search:
        counted, sessions = halves(sessions, args.seed)
        with progress_bar("searching for weights", "change") as progress:
            steps = iter(range(1, 1_000_000))
            weights = search_weights(recommender, counted, k=args.k, report=lambda *_: progress(next(steps), None))
        _add(contenders, "found weights", RecommenderContender(recommender, {"weights": weights}))
    _add(contenders, _FLOORS[0], Popularity(catalogue, counted))
    _add(contenders, _FLOORS[1], Random(catalogue, args.seed))
    with progress_bar("measuring", "setting") as progress:
        evaluation = evaluate(contenders, sessions, catalogue, k=args.k, seed=args.seed, progress=progress)
    return replace(evaluation, weights=weights)


def _add(contenders: dict[str, Contender], name: str, contender: Contender) -> None:
    from clipshelf.errors import InputError

    if name in contenders:
        raise InputError(
            f"--setting: expected names that differ from each other and from the floors, found {name} twice"
        )
    contenders[name] = contender


def _recommender(args: argparse.Namespace, catalogue: Catalogue) -> Recommender:
    from clipshelf.evaluate.remembering import RememberingEngine
    from clipshelf.recommend.recommender import Recommender

    return Recommender(open_engine(args, catalogue, RememberingEngine), catalogue)


def _print(evaluation: Evaluation) -> None:
    from clipshelf.evaluate.metrics import METRICS

    print(f"{evaluation.sessions} sessions, {evaluation.products} products, lists of {evaluation.k}")
    width = max(map(len, evaluation.metrics))
    print(f"{'':{width}}" + "".join(f"  {metric:^22}" for metric in METRICS))
    for name, values in evaluation.metrics.items():
        cells = (values[metric] for metric in METRICS)
        print(
            f"{name:{width}}"
            + "".join(f"  {cell.value:7.3f} ({cell.low:.3f}-{cell.high:.3f})".ljust(24) for cell in cells)
        )
    first = next(iter(evaluation.metrics))
    for name, values in evaluation.differences.items():
        ndcg = values["ndcg"]
        sure = "chance does not explain it" if ndcg.low > 0 or ndcg.high < 0 else "it may be chance"
        print(f"{name} less {first}: ndcg {ndcg.value:+.3f} ({ndcg.low:+.3f} to {ndcg.high:+.3f}), {sure}")
    if evaluation.weights is not None:
        print("found weights: " + ",".join(f"{name}={value:g}" for name, value in evaluation.weights.items()))
