"""`clipshelf calibrate`: fits the relevance of a catalogue to a shop's own queries, and keeps the curve with it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from clipshelf.cli.catalogue_folder import load_engine
from clipshelf.cli.options import Commands, add_engine_options, add_waiting_option, positive
from clipshelf.cli.output import print_error, print_json, print_note

if TYPE_CHECKING:
    from clipshelf.catalogue.catalogue import Catalogue
    from clipshelf.failures import Failure, OnError
    from clipshelf.recommend.relevance_fit import RelevanceFit


def add_commands(commands: Commands) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser("calibrate", help="fit relevance to a shop's own queries and what was clicked")
    parser.add_argument("catalogue", metavar="CATALOGUE", help="folder that `clipshelf index` wrote")
    parser.add_argument(
        "queries",
        metavar="QUERIES",
        nargs="?",
        help="JSON Lines or CSV: the fields of a query, as docs/json.md describes them, and clicked, an id or several",
    )
    parser.add_argument("-k", metavar="N", type=positive, default=10, help="products of an answer (default: 10)")
    parser.add_argument("--remove", action="store_true", help="go back to relevance without a curve")
    parser.add_argument(
        "--on-error",
        choices=("raise", "skip"),
        default="raise",
        help="at a bad query stop, or leave it out, say why and exit with 1 (default: %(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_waiting_option(parser)
    add_engine_options(parser, default="that of the catalogue")
    parser.set_defaults(run=_run, misuse=parser.error)


def _run(args: argparse.Namespace) -> int:
    from clipshelf.catalogue.indexing import change

    if bool(args.queries) == args.remove:
        args.misuse("expected QUERIES, or --remove without them")
    failures: list[Failure] = []
    fits: list[RelevanceFit] = []

    def calibrated(catalogue: Catalogue) -> Catalogue:
        if args.remove:
            return catalogue.with_relevance_curve(None)
        fits.append(_fit(args, catalogue, failures))
        return catalogue.with_relevance_curve(fits[0].curve)

    change(Path(args.catalogue), calibrated, timeout=args.wait)
    for fit in fits:
        _print(args, fit)
    for failure in failures:
        print_error(f"left out {failure.reason}")
    return 1 if failures else 0


def _fit(args: argparse.Namespace, catalogue: Catalogue, failures: list[Failure]) -> RelevanceFit:
    from clipshelf.catalogue.reading.readers import DEFAULT_FIELDS, read_source
    from clipshelf.recommend.recommender import Recommender
    from clipshelf.recommend.relevance_fit import fit_relevance

    source = read_source(args.queries, DEFAULT_FIELDS)
    for warning in source.warnings:
        print_note(warning)
    recommender = Recommender(load_engine(args, catalogue), catalogue)
    on_error: OnError = failures.append if args.on_error == "skip" else "raise"
    return fit_relevance(recommender, source.records, k=args.k, on_error=on_error)


def _print(args: argparse.Namespace, fit: RelevanceFit) -> None:
    if args.json:
        print_json(fit.to_dict())
        return
    print(f"{args.catalogue}: {fit.queries} queries, {fit.found} of them with a clicked product in the answer")
    print(f"{args.catalogue}: relevance tells found from not found with an AUC of {fit.auc:.3f}")
    print(f"{args.catalogue}: calibration error {fit.error_before:.3f} before, {fit.error_after:.3f} after")
