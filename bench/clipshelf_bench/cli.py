"""The command line: which parts to measure, on which model, and for how long."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from clipshelf import ClipshelfError

from clipshelf_bench.bench import Bench
from clipshelf_bench.cli_options import add_options, make_bench
from clipshelf_bench.compare import compare_reports
from clipshelf_bench.datasets.debian import PackageError
from clipshelf_bench.joining import join_reports
from clipshelf_bench.machine.description import describe_machine
from clipshelf_bench.machine.environment import UNSET
from clipshelf_bench.parts.avx2 import avx2
from clipshelf_bench.parts.cold_start import cold_start
from clipshelf_bench.parts.end_to_end import end_to_end
from clipshelf_bench.parts.fidelity import fidelity
from clipshelf_bench.parts.latency import latency
from clipshelf_bench.parts.memory import memory
from clipshelf_bench.parts.people import people
from clipshelf_bench.parts.plan_queues import plan_queues
from clipshelf_bench.parts.quality import quality
from clipshelf_bench.parts.rank import rank
from clipshelf_bench.parts.scaling import scaling
from clipshelf_bench.parts.service_load import service_load
from clipshelf_bench.parts.service_soak import service_soak
from clipshelf_bench.parts.sharded import sharded
from clipshelf_bench.parts.sharded_embedding import sharded_embedding
from clipshelf_bench.parts.soak import soak
from clipshelf_bench.parts.throughput import throughput
from clipshelf_bench.report import RESULTS_FILE, text_table, to_json, write_report
from clipshelf_bench.tables import Table

Part: TypeAlias = Callable[[Bench], list[Table]]

# In the order of the report.
PARTS: dict[str, Part] = {
    "latency": latency,
    "throughput": throughput,
    "avx2": avx2,
    "rank": rank,
    "people": people,
    "cold-start": cold_start,
    "memory": memory,
    "soak": soak,
    "fidelity": fidelity,
    "quality": quality,
    "end-to-end": end_to_end,
    "service-load": service_load,
    "service-soak": service_soak,
    "scaling": scaling,
    "sharded": sharded,
    "sharded-embedding": sharded_embedding,
    "plan-queues": plan_queues,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the bench with command-line arguments; returns 0 when done and 1 on failure, and exits with 2 on misuse."""
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
    for name, part in PARTS.items():
        text = (part.__doc__ or "").split("\n")[0]
        command = commands.add_parser(name, help=text, description=text)
        add_options(command)
        command.set_defaults(run=_measure, parts=[name])
    text = "every part, and RESULTS.md from them"
    command = commands.add_parser("all", help=text, description=text)
    add_options(command)
    command.set_defaults(run=_measure, parts=list(PARTS))
    diff = commands.add_parser("compare", help="which ratios moved between two results.json")
    diff.add_argument("old", type=Path)
    diff.add_argument("new", type=Path)
    diff.add_argument("--all", action="store_true", help="print those that stayed too")
    diff.set_defaults(run=_compare, quick=False, rounds=None, seconds=None)
    join = commands.add_parser("join", help="RESULTS.md from the results of parts that were measured one by one")
    join.add_argument("results", metavar="FILE", type=Path, nargs="+", help="what --json wrote")
    out_help = "write RESULTS.md, results.json and plots there"
    join.add_argument("--out", metavar="DIR", type=Path, required=True, help=out_help)
    join.set_defaults(run=_join, quick=False, rounds=None, seconds=None)
    return parser


def _measure(args: argparse.Namespace) -> int:
    """Measure the parts and write what the options ask for; 1 when a part failed."""
    out = args.out or (Path("bench") if len(args.parts) > 1 else None)
    json_files = [path for path in (out and out / RESULTS_FILE, args.json) if path]
    machine = describe_machine(args.threads) | {"seconds": {}}
    with tempfile.TemporaryDirectory(prefix="clipshelf-bench-") as folder:
        tables = _measure_parts(args.parts, make_bench(args, Path(folder)), machine, json_files)
    if out is not None:
        write_report(out, machine, tables, UNSET)
        print(f"wrote {out / 'RESULTS.md'}")
    return 1 if "failed" in machine else 0


def _measure_parts(
    names: Sequence[str], bench: Bench, machine: dict[str, Any], json_files: Sequence[Path]
) -> list[Table]:
    """Run the parts and print their tables.

    `machine` gets the seconds that each part took and, among several parts, the errors of those that failed; the
    error of a single part is raised. After each part the results so far are written to `json_files`.
    """
    tables: list[Table] = []
    for name in names:
        start = time.perf_counter()
        try:
            new_tables = PARTS[name](bench)
        except Exception as error:
            if len(names) == 1:
                raise
            traceback.print_exc()
            machine.setdefault("failed", {})[name] = f"{type(error).__name__}: {error}"
            new_tables = []
        for table in new_tables:
            print(f"\n{text_table(table)}", flush=True)
        tables += new_tables
        machine["seconds"][name] = round(time.perf_counter() - start)
        print(f"\n{name} took {machine['seconds'][name]} s", flush=True)
        for path in json_files:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(to_json(machine, tables))
    return tables


def _join(args: argparse.Namespace) -> int:
    machine, tables = join_reports([json.loads(path.read_text()) for path in args.results], list(PARTS))
    write_report(args.out, machine, tables, UNSET)
    print(f"wrote {args.out / 'RESULTS.md'}")
    return 0


def _compare(args: argparse.Namespace) -> int:
    changes = compare_reports(json.loads(args.old.read_text()), json.loads(args.new.read_text()))
    shown = [change for change in changes if args.all or change.verdict != "same"]
    print("\n".join(map(str, shown)) or f"no ratio moved beyond its interval, of {len(changes)}")
    return 0
