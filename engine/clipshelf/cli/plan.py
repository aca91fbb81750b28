"""`clipshelf plan`: how many machines a catalogue and its traffic need."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from clipshelf.cli.options import Commands, add_engine_options, positive, share
from clipshelf.cli.output import print_json

if TYPE_CHECKING:
    from clipshelf.plan.rates import Rates
    from clipshelf.plan.sizing import Plan

_COUNTS = {"": 1.0, "k": 1e3, "m": 1e6, "b": 1e9}
_BYTES = {"": 1.0, "kb": 1e3, "mb": 1e6, "gb": 1e9, "tb": 1e12, "kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40}
_TIMES = {"us": 1e-6, "ms": 1e-3, "s": 1.0}


def add_commands(commands: Commands) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser("plan", help="how many machines a catalogue and its traffic need")
    count, size = _quantity("1000, 20k, 100M or 1B", _COUNTS), _quantity("64GB or 16GiB", _BYTES)
    duration = _quantity("50ms, 500us or 1s", _TIMES)

    def option(name: str, kind: Callable[[str], float], help_: str, default: float | None = None) -> None:
        parser.add_argument(name, type=kind, required=default is None, default=default, help=help_, metavar="VALUE")

    option("--products", _whole(count), "how many, such as 100M")
    option("--qps", count, "queries in a second")
    option("--p99", duration, "time within which 99 of 100 queries are answered, such as 50ms")
    option("--record", size, "bytes of a product's fields (default: 500)", 500)
    option("--pictures", _number, "of a product, on average (default: 1)", 1)
    option("--texts", _number, "of a product, on average (default: 1)", 1)
    option("--photos", share, "of queries with a photo beside their sentence, 0 to 1 (default: 1)", 1)
    option("--cpus", positive, "of a machine (default: 16)", 16)
    option("--memory", size, "of a machine (default: 64GB)", 64e9)
    option("--bandwidth", size, "bytes that a machine's memory gives in a second (default: 100GB)", 100e9)
    option("--network", duration, "time that a query spends on the network (default: 1ms)", 1e-3)
    parser.add_argument("--dim", metavar="D", type=positive, help="width of an embedding (default: that of the model)")
    parser.add_argument(
        "--rates",
        metavar="FILE",
        help="what `clipshelf bench --rates --json` printed on such a machine (default: measure this one now)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object, in seconds and bytes")
    add_engine_options(parser)
    parser.set_defaults(run=_run)


def _quantity(expected: str, units: dict[str, float]) -> Callable[[str], float]:
    """A parser of numbers above 0 with one of the units, for argparse."""

    def parse(text: str) -> float:
        match = re.fullmatch(r"\s*(\d{1,18}(?:\.\d{1,9})?)\s*([A-Za-z]{0,3})\s*", text)
        if match is None or match[2].lower() not in units or not float(match[1]):
            raise argparse.ArgumentTypeError(f"expected a number above 0 such as {expected}, found {text!r}")
        return float(match[1]) * units[match[2].lower()]

    return parse


def _whole(parse: Callable[[str], float]) -> Callable[[str], float]:
    """The same parser for whole numbers alone."""

    def parse_whole(text: str) -> float:
        value = parse(text)
        if not value.is_integer():
            raise argparse.ArgumentTypeError(f"expected a whole number, found {text!r}")
        return value

    return parse_whole


def _number(text: str) -> float:
    """A number from 0 on, for argparse."""
    if not re.fullmatch(r"\d{1,9}(\.\d{1,9})?", text):
        raise argparse.ArgumentTypeError(f"expected a number from 0 on, found {text!r}")
    return float(text)


def _run(args: argparse.Namespace) -> int:
    from clipshelf.plan.sizing import Demand, Machine, plan

    rates = _rates(args)
    dim = args.dim or rates.dim
    demand = Demand(int(args.products), dim, args.qps, args.p99, args.record, args.pictures, args.texts, args.photos)
    found = plan(demand, Machine(args.cpus, args.memory, args.bandwidth, args.network), rates)
    if args.json:
        print_json(found.to_dict())
    else:
        _print(found)
    return 0


def _rates(args: argparse.Namespace) -> Rates:
    """The rates of a file, or of this machine."""
    from clipshelf.errors import InputError
    from clipshelf.files import MANIFEST_BYTES, read_regular
    from clipshelf.json_parsing import parse_json
    from clipshelf.model.engine import Engine
    from clipshelf.plan.rates import Rates, measure_rates

    if args.rates is None:
        return measure_rates(Engine.load(args.artifact, threads=args.threads))
    try:
        data = parse_json(read_regular(Path(args.rates), MANIFEST_BYTES))
    except ValueError as error:
        raise InputError(f"{args.rates}: expected JSON of `clipshelf bench --rates --json`, found {error}") from None
    return Rates.from_dict(data)


def _print(found: Plan) -> None:
    demand, machine, rates = found.demand, found.machine, found.rates
    kind = f"{machine.cpus} CPUs and {machine.memory / 1e9:.0f} GB"
    lines = [
        f"{found.machines:,} machines of {kind}; {demand.products:,} products, {demand.qps:,g} queries a second",
        f"  {found.shards:,} shards x {found.replicas:,} replicas that search, {found.embedders:,} that embed queries",
        f"  a shard has {found.shard_memory / 1e9:.1f} GB, a search takes {1000 * found.search:.1f} ms; "
        f"the machines that search are busy {found.busy:.0%} of the time",
        f"  p50 {1000 * found.p50:.1f} ms, p99 {1000 * found.p99:.1f} ms by simulation; asked {1000 * demand.p99:g} ms",
        f"  embedding the catalogue takes {found.embedding_cpu_seconds / 3600:,.1f} CPU hours, "
        f"{found.embedding_hours:,.1f} hours on these machines",
        f"measured with {rates.threads} CPUs: {1000 * rates.picture:.2f} CPU ms a picture, {1000 * rates.text:.2f} a "
        f"text, {1 / rates.scan_number / rates.threads / 1e9:.1f} billion numbers searched in a CPU second",
        f"assumed: {demand.dim} dims; rates grow with CPUs; memory gives {machine.bandwidth / 1e9:.0f} GB a second; "
        f"{1000 * machine.network:g} ms on the network; records of {demand.record_bytes:.0f} bytes; Poisson arrivals; "
        f"{_query(demand.photos)}; one search at a time on a machine",
    ]
    print("\n".join(lines))


def _query(photos: float) -> str:
    """The queries of a plan in words."""
    if photos in (0, 1):
        return "queries of a sentence and a photo" if photos else "queries of a sentence"
    return f"queries of a sentence, {photos:.0%} of them with a photo"
