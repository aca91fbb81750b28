"""`clipshelf bench` and `clipshelf host build`: what concerns this device."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from clipshelf.cli.options import Commands, add_engine_options, image_limits, positive


def add_commands(commands: Commands) -> None:
    """Add the commands to the parser."""
    bench = commands.add_parser("bench", help="how fast this device answers, stage by stage")
    bench.add_argument("--products", metavar="N", type=positive, default=10_000, help="to rank (default: %(default)s)")
    bench.add_argument(
        "--runs", metavar="N", type=positive, default=100, help="how many queries (default: %(default)s)"
    )
    bench.add_argument("--energy", action="store_true", help="measure the energy of an answer too, by the sensors")
    bench.add_argument("--rates", action="store_true", help="measure the rates that `clipshelf plan` starts from too")
    bench.add_argument("--json", action="store_true", help="print one JSON object")
    add_engine_options(bench)
    bench.set_defaults(run=_bench)

    host = commands.add_parser("host", help="the engine inside a C or C++ program (needs clipshelf[host])")
    actions = host.add_subparsers(required=True, metavar="ACTION")
    build = actions.add_parser("build", help="build libclipshelf for this Python environment")
    build.add_argument(
        "--prefix", metavar="DIR", default="build/host", help="folder to install to (default: %(default)s)"
    )
    build.add_argument(
        "--cmake-option",
        metavar="-DNAME=VALUE",
        action="append",
        default=[],
        help="passed on to CMake, as often as needed",
    )
    build.set_defaults(run=_host_build)


def _bench(args: argparse.Namespace) -> int:
    from clipshelf.cli.device_bench import measure
    from clipshelf.cli.energy import EnergyBench
    from clipshelf.model.engine import Engine

    engine = Engine.load(args.artifact, threads=args.threads, limits=image_limits(args))
    energy = EnergyBench() if args.energy else None
    report = measure(engine, products=args.products, runs=args.runs, energy=energy, rates=args.rates)
    print(json.dumps(report.to_dict(), ensure_ascii=False) if args.json else report)
    return 0


def _host_build(args: argparse.Namespace) -> int:
    from clipshelf.host.build import build

    library = build(Path(args.prefix), options=args.cmake_option)
    print(f"{library}; for CMake: -DCMAKE_PREFIX_PATH={Path(args.prefix).absolute()}")
    return 0
