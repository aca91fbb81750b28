"""The command line: which parts, on which model, for how long."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from clipshelf.bundled import model_path
from clipshelf.errors import ClipshelfError
from clipshelf.runtime.cpus import available_cpus

from clipshelf_bench import compare, report
from clipshelf_bench.contenders import ALL
from clipshelf_bench.contenders.base import Contender
from clipshelf_bench.datasets.cache import cache_folder
from clipshelf_bench.datasets.debian import PackageError
from clipshelf_bench.machine import machine
from clipshelf_bench.parts import answers, cold, fidelity, people, process, quality, ranking, scaling, soak, timing
from clipshelf_bench.race.harness import Plan
from clipshelf_bench.race.process import UNSET
from clipshelf_bench.result import Table
from clipshelf_bench.setup import Setup
from clipshelf_bench.subjects.checkpoint import artifact_subject, make_subject
from clipshelf_bench.subjects.subject import Subject

PARTS: dict[str, Callable[[Setup], list[Table]]] = {
    "latency": timing.latency,
    "throughput": timing.throughput,
    "rank": ranking.rank,
    "people": people.people,
    "cold-start": cold.cold_start,
    "memory": process.memory,
    "soak": soak.soak,
    "fidelity": fidelity.fidelity,
    "quality": quality.quality,
    "end-to-end": answers.end_to_end,
    "scaling": scaling.scaling,
}
_QUICK: dict[str, Any] = {"rounds": 3, "runs": 1, "seconds": 0.1, "warm": 0.05}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the bench; 0 done, 1 failure, 2 misuse."""
    parser = _parser()
    args = parser.parse_args(argv)
    if args.quick and (args.rounds or args.seconds):
        parser.error("--quick sets the rounds and seconds itself")
    try:
        return int(args.run(args))
    except (ClipshelfError, PackageError, OSError, ValueError) as error:
        print(f"clipshelf_bench: {' '.join(str(error).split())}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="clipshelf_bench", description="Measure clipshelf and what it replaces.")
    commands = parser.add_subparsers(required=True, metavar="PART")
    for name, part in [*PARTS.items(), ("all", None)]:
        text = "every part, and RESULTS.md from them" if part is None else (part.__doc__ or "").split("\n")[0]
        command = commands.add_parser(name, help=text, description=text)
        _add_options(command)
        command.set_defaults(run=_measure, parts=list(PARTS) if part is None else [name], quick=False)
    diff = commands.add_parser("compare", help="which ratios moved between two results.json")
    diff.add_argument("old", type=Path)
    diff.add_argument("new", type=Path)
    diff.add_argument("--all", action="store_true", help="print those that stayed too")
    diff.set_defaults(run=_compare, quick=False, rounds=None, seconds=None)
    return parser


def _add_options(parser: argparse.ArgumentParser) -> None:
    models = parser.add_argument_group("models", "without --checkpoint: ViT-B/32 shapes with random weights")
    models.add_argument(
        "--checkpoint", metavar="SOURCE", help="folder or hub id of a CLIPModel (default: ViT-B/32 shapes)"
    )
    models.add_argument("--artifact", metavar="DIR", type=Path, help="our artifact of it (default: export it)")
    models.add_argument(
        "--default", metavar="DIR", type=Path, help="another embedded default, for quality and its rows"
    )
    models.add_argument("--model", choices=("both", "clip", "default"), default="both", help="(default: %(default)s)")
    models.add_argument("--stamps", metavar="DIR", type=Path, help="unpacked stamps package (default: download it)")
    how = parser.add_argument_group("how")
    how.add_argument(
        "--quick",
        action="store_true",
        help="fewer contenders, rounds and rows: about five minutes, with wide intervals",
    )
    how.add_argument("--rounds", type=int, help=f"rounds of a race (default: {Plan.rounds})")
    how.add_argument("--seconds", type=float, help=f"of one turn (default: {Plan.seconds})")
    how.add_argument("--threads", type=int, default=available_cpus(), help="of every contender (default: all CPUs)")
    how.add_argument("--seed", type=int, default=0, help="of the order of turns (default: %(default)s)")
    how.add_argument(
        "--calls",
        type=int,
        help=f"of the soak (default: {soak.CALLS}; in `all` {soak.CALLS_AMONG_OTHERS}, quick {soak.CALLS_QUICK})",
    )
    how.add_argument("--restart", action="store_true", help="a new process for every turn")
    how.add_argument("--only", metavar="NAMES", help="contenders to run, by name, with commas")
    how.add_argument(
        "--contender",
        metavar="MODULE:CLASS",
        action="append",
        default=[],
        help="one more, a class as contenders/base.py explains, in a module of this folder or on PYTHONPATH",
    )
    out = parser.add_argument_group("output")
    out.add_argument("--out", metavar="DIR", type=Path, help="write RESULTS.md, results.json and plots there")
    out.add_argument("--json", metavar="FILE", type=Path, help="write the results as JSON")


def _measure(args: argparse.Namespace) -> int:
    """Run the parts. The numbers so far are on disk after each; of several, one that fails is left out."""
    out = args.out or (Path("bench") if len(args.parts) > 1 else None)
    facts = machine.describe(args.threads) | {"seconds": {}}
    with tempfile.TemporaryDirectory(prefix="clipshelf-bench-") as folder:
        setup = _setup(args, Path(folder))
        tables: list[Table] = []
        for name in args.parts:
            start = time.perf_counter()
            try:
                tables += _shown(PARTS[name](setup))
            except Exception as error:
                if len(args.parts) == 1:
                    raise
                traceback.print_exc()
                facts.setdefault("failed", {})[name] = f"{type(error).__name__}: {error}"
            facts["seconds"][name] = round(time.perf_counter() - start)
            print(f"\n{name} took {facts['seconds'][name]} s", flush=True)
            for path in filter(None, (out and out / report.RESULTS, args.json)):
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(report.to_json(facts, tables))
    if out is not None:
        report.write(out, facts, tables, UNSET)
        print(f"wrote {out / 'RESULTS.md'}")
    return 1 if "failed" in facts else 0


def _shown(tables: list[Table]) -> list[Table]:
    for table in tables:
        print(f"\n{report.text_table(table)}", flush=True)
    return tables


def _setup(args: argparse.Namespace, folder: Path) -> Setup:
    chosen = {name: value for name in ("rounds", "seconds") if (value := getattr(args, name))}
    values = _QUICK if args.quick else chosen
    plan = Plan(**values, threads=args.threads, seed=args.seed, restart=args.restart)
    contenders = [*ALL, *(_named(spec) for spec in args.contender)]
    if args.only:
        wanted = set(args.only.split(","))
        unknown = wanted - {contender.name for contender in contenders}
        if unknown:
            raise ValueError(f"expected names of contenders, found {', '.join(sorted(unknown))}")
        contenders = [contender for contender in contenders if contender.name in wanted]
    fewer = soak.CALLS_QUICK if args.quick else soak.CALLS_AMONG_OTHERS if len(args.parts) > 1 else soak.CALLS
    calls = args.calls or fewer
    return Setup(_subjects(args), contenders, plan, folder, args.quick, _tell(), args.stamps, calls)


def _subjects(args: argparse.Namespace) -> list[Subject]:
    needed = set(args.parts) - {"rank", "people"}
    subjects = []
    if args.model != "default" and needed - {"quality"}:
        subjects.append(make_subject(cache_folder(), args.checkpoint, args.artifact))
    if needed == {"quality"} and args.artifact:
        return [artifact_subject(cache_folder(), args.artifact, "artifact")]
    if args.model != "clip" and needed:
        subjects.append(artifact_subject(cache_folder(), args.default or model_path(), "embedded-default"))
    return subjects


def _named(spec: str) -> type[Contender]:
    module, _, name = spec.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"--contender {spec}: expected MODULE:CLASS that can be imported, found: {error}") from error
    if not (isinstance(found, type) and issubclass(found, Contender)):
        raise ValueError(f"--contender {spec}: expected a subclass of Contender, found {found!r}")
    return found


def _tell() -> Callable[[str], None]:
    """Progress on one line of a terminal; silent elsewhere."""
    if not sys.stderr.isatty():
        return lambda _: None
    width = os.get_terminal_size(2).columns - 1
    return lambda text: print(f"\r{text[:width]:<{width}}\r", end="", file=sys.stderr, flush=True)


def _compare(args: argparse.Namespace) -> int:
    moves = compare.compare(json.loads(args.old.read_text()), json.loads(args.new.read_text()))
    shown = [move for move in moves if args.all or move.verdict != "same"]
    print("\n".join(map(str, shown)) or f"no ratio moved beyond its interval, of {len(moves)}")
    return 0
