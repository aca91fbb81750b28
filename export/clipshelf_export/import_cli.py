"""The command `clipshelf import`, which turns two ready ONNX towers into an artifact; see `cli` for how it is found."""

from __future__ import annotations

import argparse

from clipshelf_export.cli import add_common_arguments, print_report

HELP = "turn a folder with two ready ONNX towers into an artifact, without torch (needs clipshelf[import])"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `clipshelf import` to `parser`."""
    parser.add_argument(
        "source", metavar="DIR", help="folder in the layout of immich-app (visual/, textual/) or onnx-community (onnx/)"
    )
    add_common_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Import the towers and print what was measured.

    - `args`: the arguments that `add_arguments` defines.

    Returns the exit code 0. Raises ExportError or MissingExtra.
    """
    from clipshelf_export import import_onnx

    artifact = import_onnx(
        args.source,
        args.out,
        precisions=args.precision,
        calibration_images=args.calibration_images,
        calibration_texts=args.calibration_texts,
        min_overlap=args.min_overlap,
        vocabulary_texts=args.vocabulary_texts,
        vocabulary_languages=args.vocabulary_languages,
        overwrite=args.overwrite,
        threads=args.threads,
    )
    print_report(artifact)
    return 0
