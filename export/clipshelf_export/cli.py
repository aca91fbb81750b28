"""`clipshelf export`: arguments, progress and the table at the end."""

from __future__ import annotations

import argparse
import logging
import math
import os
from typing import get_args

from clipshelf.cli.main import positive
from clipshelf.model.artifact import Tower
from clipshelf.types import Precision


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `clipshelf export`."""
    parser.add_argument("source", metavar="SOURCE", help="folder or hub id of a CLIP checkpoint")
    parser.add_argument("out", metavar="OUT", help="folder of the artifact, new or empty")
    parser.add_argument(
        "--precision",
        metavar="P",
        type=_precisions,
        default=("int8",),
        help="int8 for CPUs, fp32, fp16 for CUDA, or several with commas, the default one first (default: int8)",
    )
    parser.add_argument(
        "--calibration-images",
        metavar="DIR",
        help="60 pictures or more: a third sets the ranges of int8, a third chooses, a third measures",
    )
    parser.add_argument("--calibration-texts", metavar="FILE", help="texts, one a line, dealt likewise")
    parser.add_argument(
        "--min-overlap",
        metavar="X",
        type=_overlaps,
        help="accept int8 with this top-10 overlap (default: 0.97); vision=X,text=Y for one tower or each",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an artifact that OUT holds")
    parser.add_argument("--threads", metavar="N", type=positive, help="threads of each measurement (default: all CPUs)")


def run(args: argparse.Namespace) -> int:
    """Export, then print what was measured. Raises ExportError or MissingExtra."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    logging.getLogger("transformers").setLevel(logging.ERROR)
    from clipshelf_export import export
    from clipshelf_export.pipeline import parity_table

    artifact = export(
        args.source,
        args.out,
        precisions=args.precision,
        calibration_images=args.calibration_images,
        calibration_texts=args.calibration_texts,
        min_overlap=args.min_overlap,
        overwrite=args.overwrite,
        threads=args.threads,
    )
    manifest = artifact.manifest
    size = sum(record.bytes for record in manifest.files.values()) / 1e6
    print(parity_table(manifest))
    for tower, precisions in manifest.parity.items():
        for precision, record in precisions.items():
            for rung in record.get("rungs", ()):
                print(f"{tower} {precision}: {rung}")
    print(f"{artifact.path}: {manifest.family}, {manifest.dim} dimensions, {size:.1f} MB, model {manifest.fingerprint}")
    return 0


def _precisions(text: str) -> tuple[Precision, ...]:
    found = tuple(dict.fromkeys(text.split(",")))
    for name in found:
        if name not in get_args(Precision):
            raise argparse.ArgumentTypeError(f"expected {', '.join(get_args(Precision))}, found {name!r}")
    return found  # type: ignore[return-value]


def _overlaps(text: str) -> dict[Tower, float] | float:
    if "=" not in text:
        return _share(text)
    pairs = dict(part.partition("=")[::2] for part in text.split(","))
    if set(pairs) - set(get_args(Tower)):
        raise argparse.ArgumentTypeError(f"expected numbers for {' or '.join(get_args(Tower))}, found {text!r}")
    return {tower: _share(pairs[tower]) for tower in get_args(Tower) if tower in pairs}


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"expected a number from 0 to 1, found {text!r}")
    return value
