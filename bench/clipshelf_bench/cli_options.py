"""The options of a measurement on the command line, and the `Bench` that they describe."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from clipshelf.bundled import model_path
from clipshelf.runtime.cpus import available_cpus

from clipshelf_bench.bench import Bench
from clipshelf_bench.contenders.base import Contender
from clipshelf_bench.contenders.roster import CONTENDERS
from clipshelf_bench.datasets.cache import cache_folder
from clipshelf_bench.parts import service_soak, soak
from clipshelf_bench.race.harness import RaceOptions
from clipshelf_bench.subjects.checkpoint import artifact_subject, checkpoint_subject
from clipshelf_bench.subjects.subject import Subject

_Length = TypeVar("_Length", int, float)

_QUICK: dict[str, Any] = {"rounds": 3, "runs": 1, "seconds": 0.1, "warm": 0.05}
# Parts that need no subject.
_WITHOUT_SUBJECT = {"rank", "people"}


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options that all parts have; `make_bench` reads them."""
    _add_model_options(
        command.add_argument_group("models", "without --checkpoint: ViT-B/32 shapes with random weights")
    )
    _add_race_options(command.add_argument_group("how"))
    out = command.add_argument_group("output")
    out.add_argument("--out", metavar="DIR", type=Path, help="write RESULTS.md, results.json and plots there")
    out.add_argument("--json", metavar="FILE", type=Path, help="write the results as JSON")


def _add_model_options(group: Any) -> None:
    group.add_argument(
        "--checkpoint", metavar="SOURCE", help="folder or hub id of a CLIPModel (default: ViT-B/32 shapes)"
    )
    group.add_argument("--artifact", metavar="DIR", type=Path, help="our artifact of it (default: export it)")
    group.add_argument("--default", metavar="DIR", type=Path, help="another embedded default, for quality and its rows")
    group.add_argument("--model", choices=("both", "clip", "default"), default="both", help="(default: %(default)s)")
    group.add_argument("--stamps", metavar="DIR", type=Path, help="unpacked stamps package (default: download it)")


def _add_race_options(group: Any) -> None:
    group.add_argument(
        "--quick",
        action="store_true",
        help="fewer contenders, rounds and rows: about five minutes, with wide intervals",
    )
    group.add_argument("--rounds", type=int, help=f"rounds of a race (default: {RaceOptions.rounds})")
    group.add_argument("--seconds", type=float, help=f"of one turn (default: {RaceOptions.seconds})")
    group.add_argument("--threads", type=int, default=available_cpus(), help="of every contender (default: all CPUs)")
    group.add_argument("--seed", type=int, default=0, help="of the order of turns (default: %(default)s)")
    group.add_argument(
        "--calls",
        type=int,
        help=f"of the soak (default: {soak.CALLS}; in `all` {soak.CALLS_IN_ALL}, quick {soak.CALLS_QUICK})",
    )
    group.add_argument(
        "--minutes",
        type=float,
        help=f"of the service's soak (default: {service_soak.MINUTES:g}; in `all` {service_soak.MINUTES_IN_ALL:g}, "
        f"quick {service_soak.MINUTES_QUICK:g})",
    )
    group.add_argument("--restart", action="store_true", help="a new process for every turn")
    group.add_argument("--only", metavar="NAMES", help="contenders to run, by name, with commas")
    group.add_argument(
        "--contender",
        metavar="MODULE:CLASS",
        action="append",
        default=[],
        help="one more, a class as contenders/base.py explains, in a module of this folder or on PYTHONPATH",
    )


def make_bench(args: argparse.Namespace, folder: Path) -> Bench:
    """The run that the options describe.

    - `args`: parsed options of `add_options`, and `parts`, the names of the parts.
    - `folder`: keeps inputs and outputs of the run.

    Raises ValueError for a contender that does not exist, and what making a subject raises.
    """
    options = {name: value for name in ("rounds", "seconds") if (value := getattr(args, name))}
    durations = _QUICK if args.quick else options
    return Bench(
        subjects=_subjects(args),
        contenders=_contenders(args),
        options=RaceOptions(**durations, threads=args.threads, seed=args.seed, restart=args.restart),
        folder=folder,
        quick=args.quick,
        notify=_status_line(),
        stamps=args.stamps,
        soak_calls=args.calls or _of_soak(args, soak.CALLS, soak.CALLS_IN_ALL, soak.CALLS_QUICK),
        soak_minutes=args.minutes
        or _of_soak(args, service_soak.MINUTES, service_soak.MINUTES_IN_ALL, service_soak.MINUTES_QUICK),
    )


def _of_soak(args: argparse.Namespace, alone: _Length, in_all: _Length, quick: _Length) -> _Length:
    """The length of a soak by itself, among all parts, and when quick."""
    if args.quick:
        return quick
    return in_all if len(args.parts) > 1 else alone


def _contenders(args: argparse.Namespace) -> list[type[Contender]]:
    contenders = [*CONTENDERS, *(_import_contender(class_name) for class_name in args.contender)]
    if not args.only:
        return contenders
    names = set(args.only.split(","))
    unknown = names - {contender.name for contender in contenders}
    if unknown:
        raise ValueError(f"expected names of contenders, found {', '.join(sorted(unknown))}")
    return [contender for contender in contenders if contender.name in names]


def _import_contender(class_name: str) -> type[Contender]:
    module, _, name = class_name.partition(":")
    try:
        value = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        message = f"--contender {class_name}: expected MODULE:CLASS that can be imported, found: {error}"
        raise ValueError(message) from error
    if not (isinstance(value, type) and issubclass(value, Contender)):
        raise ValueError(f"--contender {class_name}: expected a subclass of Contender, found {value!r}")
    return value


def _subjects(args: argparse.Namespace) -> list[Subject]:
    """The models that the parts need: a CLIPModel, the embedded default, or both."""
    parts = set(args.parts) - _WITHOUT_SUBJECT
    if parts == {"quality"} and args.artifact:
        return [artifact_subject(cache_folder(), args.artifact, "artifact")]
    subjects = []
    if args.model != "default" and parts - {"quality"}:
        subjects.append(checkpoint_subject(cache_folder(), args.checkpoint, args.artifact))
    if args.model != "clip" and parts:
        subjects.append(artifact_subject(cache_folder(), args.default or model_path(), "embedded-default"))
    return subjects


def _status_line() -> Callable[[str], None]:
    """A function that shows the next step on one line of a terminal, and nothing elsewhere."""
    if not sys.stderr.isatty():
        return lambda _: None
    width = os.get_terminal_size(2).columns - 1
    return lambda text: print(f"\r{text[:width]:<{width}}\r", end="", file=sys.stderr, flush=True)
