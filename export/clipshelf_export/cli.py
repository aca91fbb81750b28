"""The command `clipshelf export`: its arguments, and the table that it prints at the end.

The command line of the engine finds this module through the entry point `export` in the group `clipshelf.commands`. An
entry point of that group loads an object with three attributes, here the module itself:

- `HELP`: one line for `clipshelf --help`.
- `add_arguments(parser)`: adds the command's arguments to an `argparse.ArgumentParser`.
- `run(args)`: runs the command with the parsed arguments and returns the exit code. The command line prints a
  `ClipshelfError` that it raises.

This module imports neither torch nor onnx, so that the arguments are parsed, and `--help` is printed, without them.
"""

from __future__ import annotations

import argparse
import logging
import math
import os
from typing import cast, get_args

from clipshelf.model.artifact import Artifact, TowerName
from clipshelf.types import Precision

HELP = "turn a CLIP or SigLIP checkpoint into an artifact (needs clipshelf[export])"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `clipshelf export` to `parser`."""
    parser.add_argument("source", metavar="SOURCE", help="folder of a checkpoint, or its hub id: org/name[@revision]")
    parser.add_argument(
        "--text-source",
        metavar="SOURCE",
        help="folder or hub id of a sentence-transformers model whose text tower is used, such as "
        "sentence-transformers/clip-ViT-B-32-multilingual-v1",
    )
    add_common_arguments(parser)


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that `clipshelf export` and `clipshelf import` share."""
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
    parser.add_argument(
        "--calibration-texts", metavar="FILE", help="60 texts or more, one a line, split in the same way"
    )
    parser.add_argument(
        "--min-overlap",
        metavar="X",
        type=_overlaps,
        help="accept int8 with this top-10 overlap (default: 0.97); vision=X,text=Y for one tower or each",
    )
    parser.add_argument(
        "--vocabulary-texts",
        metavar="FILE",
        help="keep the pieces of the vocabulary that these texts need alone, one text a line; others fall back",
    )
    parser.add_argument(
        "--vocabulary-languages",
        metavar="L",
        type=lambda text: tuple(text.split(",")),
        default=(),
        help="keep the pieces in the letters of these languages alone, such as en,de; with the texts, those of both",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an artifact that OUT holds")
    parser.add_argument("--threads", metavar="N", type=_threads, help="threads of each measurement (default: all CPUs)")


def run(args: argparse.Namespace) -> int:
    """Export a checkpoint and print what was measured.

    - `args`: the arguments that `add_arguments` defines.

    Returns the exit code 0. Raises ExportError or MissingExtra.
    """
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    logging.getLogger("transformers").setLevel(logging.ERROR)
    from clipshelf_export import export

    artifact = export(
        args.source,
        args.out,
        text_source=args.text_source,
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


def print_report(artifact: Artifact) -> None:
    """Print the fidelity of each graph, the rungs of int8, what was left out, the licence, and the size."""
    from clipshelf_export.pipeline import parity_table

    manifest = artifact.manifest
    print(parity_table(manifest))
    for tower, precisions in manifest.parity.items():
        for precision, record in precisions.items():
            for rung in record.get("rungs", ()):
                print(f"{tower} {precision}: {rung}")
    for part, record in manifest.end_to_end.items():
        if part == "pairs":
            print(f"pairs: probability within {record['probability']:.2g} of the original library's")
        else:
            print(f"{part}: cosine {record['cosine_min']:.5f} or more to the original library, from the inputs on")
    vocabulary = manifest.source.get("vocabulary")
    if vocabulary:
        print(f"vocabulary: {vocabulary['pieces']:,} of {vocabulary['of']:,} pieces")
    left_out = manifest.calibration.get("vision", {}).get("left_out", {})
    for reason in left_out.get("reasons", ()):
        print(f"left out of the calibration: {reason}")
    if left_out.get("count", 0) > len(left_out.get("reasons", ())):
        print(f"left out of the calibration: {left_out['count']} pictures in all")
    print(f"licence of the weights: {manifest.licence}")
    size = sum(record.bytes for record in manifest.files.values()) / 1e6
    print(f"{artifact.path}: {manifest.family}, {manifest.dim} dimensions, {size:.1f} MB, model {manifest.fingerprint}")


def _precisions(text: str) -> tuple[Precision, ...]:
    """Parse `--precision`: names with commas."""
    names = tuple(dict.fromkeys(text.split(",")))
    for name in names:
        if name not in get_args(Precision):
            raise argparse.ArgumentTypeError(f"expected {', '.join(get_args(Precision))}, found {name!r}")
    return cast("tuple[Precision, ...]", names)


def _overlaps(text: str) -> dict[TowerName, float] | float:
    """Parse `--min-overlap`: a number for both towers, or pairs of a tower and a number."""
    if "=" not in text:
        return _share(text)
    towers: tuple[TowerName, ...] = get_args(TowerName)
    pairs = dict(part.partition("=")[::2] for part in text.split(","))
    if set(pairs) - set(towers):
        raise argparse.ArgumentTypeError(f"expected numbers for {' or '.join(towers)}, found {text!r}")
    return {tower: _share(pairs[tower]) for tower in towers if tower in pairs}


def _share(text: str) -> float:
    """Parse a number from 0 to 1."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"expected a number from 0 to 1, found {text!r}")
    return value


def _threads(text: str) -> int:
    """Parse a whole number from 1 on."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1 on, found {text!r}")
    return int(text)
