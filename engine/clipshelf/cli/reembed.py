"""`clipshelf reembed`: changes the model of a catalogue while it answers."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clipshelf.cli.catalogue_folder import add_reading_options
from clipshelf.cli.options import Commands, add_engine_options, add_writing_options, image_limits, positive
from clipshelf.cli.output import print_error, print_json, print_note
from clipshelf.display import one_line

if TYPE_CHECKING:
    from clipshelf.catalogue.disk.manifest import CatalogueManifest
    from clipshelf.evaluate.comparison import Comparison
    from clipshelf.failures import Failure, OnError
    from clipshelf.model.engine import Engine

_ACTIONS = ("artifact", "default_model", "compare", "switch", "back", "discard")
_ALONE = ("back", "discard")
_LISTED = 3  # ids of a change that are printed


def add_commands(commands: Commands) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser("reembed", help="change the model of a catalogue while it answers")
    parser.add_argument("catalogue", metavar="CATALOGUE", help="folder that `clipshelf index` wrote")
    parser.add_argument(
        "--default-model", action="store_true", help="embed with the embedded default, instead of --artifact"
    )
    parser.add_argument(
        "--compare",
        metavar="QUERIES",
        help="say how answers change from the current model to the prepared one: JSON Lines or CSV of queries or "
        "sessions, as calibrate and evaluate take them",
    )
    parser.add_argument("-k", metavar="N", type=positive, default=10, help="products of an answer (default: 10)")
    parser.add_argument("--switch", action="store_true", help="make the prepared generation the current one")
    parser.add_argument("--back", action="store_true", help="bring back the model of before the last switch")
    parser.add_argument(
        "--discard", action="store_true", help="remove the prepared generation, and the one of before the switch"
    )
    parser.add_argument(
        "--on-error",
        choices=("raise", "skip", "keep-text"),
        default="raise",
        help="at a product or query that cannot be used stop, or leave it out, say why and exit with 1; keep-text "
        "leaves out the picture alone, where there is a text (default: %(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object; docs/change-of-model.md has it")
    add_writing_options(parser)
    add_reading_options(parser)
    add_engine_options(parser, default="none is embedded with")
    parser.set_defaults(run=_run, misuse=parser.error)


def _run(args: argparse.Namespace) -> int:
    from clipshelf.catalogue.disk.manifest import read_manifest

    actions = [name for name in _ACTIONS if getattr(args, name)]
    if not actions:
        args.misuse("expected --artifact, --default-model, --compare, --switch, --back or --discard, found none")
    if len(actions) > 1 and (set(_ALONE) & {*actions} or {"artifact", "default_model"} <= {*actions}):
        args.misuse(f"expected these one at a time, found {' and '.join(actions)}".replace("_", "-"))
    products: list[Failure] = []
    queries: list[Failure] = []
    comparison = None
    if args.artifact or args.default_model:
        _prepare(args, products)
    if args.compare:
        comparison = _compare(args, queries)
    _change(args)
    _print(args, read_manifest(Path(args.catalogue)), comparison)
    for failure in products:
        part = f"the {failure.part} of " if failure.part else ""
        print_error(f"left out {part}product {failure.source!r}: {failure.reason}")
    for failure in queries:
        print_error(f"left out {failure.source}: {failure.reason}")
    return 1 if products or queries else 0


def _prepare(args: argparse.Namespace, failures: list[Failure]) -> None:
    from clipshelf.catalogue.reembedding import reembed
    from clipshelf.cli.progress import progress_bar

    with progress_bar("embedding", "product") as progress:
        reembed(
            _engine(args, args.artifact),
            args.catalogue,
            root=args.root,
            allow_outside=args.allow_outside,
            on_error="raise" if args.on_error == "raise" else failures.append,
            keep_text=args.on_error == "keep-text",
            allow_shrink=args.allow_shrink,
            timeout=max(args.wait, 60.0),
            on_warning=print_note,
            progress=progress,
        )


def _compare(args: argparse.Namespace, failures: list[Failure]) -> Comparison:
    from clipshelf.catalogue.catalogue import Catalogue
    from clipshelf.catalogue.reading.readers import DEFAULT_FIELDS, read_source
    from clipshelf.evaluate.comparison import compare_answers
    from clipshelf.recommend.recommender import Recommender

    catalogues = [Catalogue.load(args.catalogue), Catalogue.load(args.catalogue, part="prepared")]
    source = read_source(args.compare, DEFAULT_FIELDS)
    for warning in source.warnings:
        print_note(warning)
    old, new = (Recommender(_engine(args, catalogue.model_path()), catalogue) for catalogue in catalogues)
    policy: OnError = "raise" if args.on_error == "raise" else failures.append
    return compare_answers(old, new, source.records, k=args.k, on_error=policy)


def _change(args: argparse.Namespace) -> None:
    from clipshelf.catalogue.reembedding import discard, switch, switch_back
    from clipshelf.cli.progress import progress_bar

    if args.switch:
        switch(args.catalogue, timeout=args.wait)
    elif args.back:
        with progress_bar("embedding", "product") as progress:
            switch_back(
                args.catalogue,
                open_engine=partial(_engine, args),
                timeout=args.wait,
                on_warning=print_note,
                progress=progress,
            )
    elif args.discard:
        discard(args.catalogue, timeout=args.wait)


def _engine(args: argparse.Namespace, path: str | None) -> Engine:
    from clipshelf.model.engine import Engine

    return Engine.load(path, threads=args.threads, limits=image_limits(args))


def _print(args: argparse.Namespace, manifest: CatalogueManifest, comparison: Comparison | None) -> None:
    generations = {"current": manifest, "prepared": manifest.prepared, "previous": manifest.previous}
    if args.json:
        found: dict[str, Any] = {name: each and _facts(each) for name, each in generations.items()}
        print_json(found | ({"comparison": comparison.to_dict()} if comparison else {}))
        return
    for name, each in generations.items():
        if each is not None:
            print(f"{args.catalogue}: {name} generation {each.generation}: {_model(each)}")
    if comparison is not None:
        _print_comparison(comparison)


def _facts(manifest: CatalogueManifest) -> dict[str, Any]:
    return {name: getattr(manifest, name) for name in ("generation", "products", "dim", "model", "fingerprint")}


def _model(manifest: CatalogueManifest) -> str:
    model = manifest.model or "the embedded default"
    return f"{manifest.products} products, {manifest.dim} dimensions, model {manifest.fingerprint}, {model}"


def _print_comparison(comparison: Comparison) -> None:
    print(f"{len(comparison.changes)} queries, answers of {comparison.k} products, old and new model")
    print(f"overlap          {comparison.overlap:.3f}  mean share of products that both answers of a query have")
    print(f"same best        {comparison.same_best:.3f}  share of queries whose best product is the same")
    print(f"same products    {comparison.same_products:.3f}  share of queries with the same products, in any order")
    changes = comparison.to_dict()["changes"]
    if changes:
        print("the largest changes:")
    for change in changes:
        gone, new = (", ".join(change[side][:_LISTED]) or "none" for side in ("gone", "new"))
        print(f"  {change['overlap']:.2f}  {one_line(change['query'])}")
        print(f"        {one_line(f'no more: {gone}; new: {new}')}")
