"""Runs everything: `python -m device` in bench/, or `python -m device --rehearse` on a machine without a GPU."""

from __future__ import annotations

import argparse
import platform
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import onnxruntime
import torch
import transformers
from clipshelf import __version__
from clipshelf.runtime import session
from clipshelf.runtime.cpus import available_cpus
from clipshelf.runtime.providers import CPU, resolve_provider
from clipshelf.runtime.stream import Device

from device.models import export_model, numerics
from device.ranking import ranking
from device.report import Report
from device.scale import Scale, rehearsal
from device.speed import embedding_speed, large_speed, streams_speed

BUDGET = 420  # seconds after which no further section begins; the longest takes a minute or two
RESULTS = Path(__file__).with_name("RESULTS.md")


def describe_machine(report: Report, scale: Scale) -> None:
    """Add what runs; raises ProviderUnavailable where the provider is not in this build."""
    provider = resolve_provider(scale.provider)
    command = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    try:
        card = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError) as error:
        card = f"no nvidia-smi ({error})"
    report.table(
        ["", ""],
        [
            ["card", card],
            ["CPUs", str(available_cpus())],
            ["clipshelf", __version__],
            ["onnxruntime", f"{onnxruntime.__version__}, {', '.join(onnxruntime.get_available_providers())}"],
            ["provider", provider],
            ["torch, transformers", f"{torch.__version__}, {transformers.__version__}"],
            ["Python", platform.python_version()],
        ],
    )


def main() -> int:
    """Run all sections; return 0 if all of them succeeded."""
    parser = argparse.ArgumentParser(prog="python -m device", description=__doc__)
    parser.add_argument("--rehearse", action="store_true", help="tiny sizes on the CPU, to see that every line runs")
    parser.add_argument("--out", type=Path, help="the file to write (default: RESULTS.md beside the script)")
    parser.add_argument("--budget", type=float, default=BUDGET, help="seconds after which no section begins")
    args = parser.parse_args()
    if args.rehearse:
        session.BOUND_DEVICES[CPU] = Device("cpu", 0)  # so that the buffers of a device run too
    scale = rehearsal() if args.rehearse else Scale()
    title = "Rehearsal on a CPU: no result" if args.rehearse else "Results on a GPU"
    report = Report(args.out or RESULTS, title, args.budget)
    with tempfile.TemporaryDirectory(prefix="clipshelf-device-") as name:
        passed = run_sections(report, scale, Path(name))
    report.add(f"All sections took {report.elapsed:.0f} s.", "")
    return 0 if passed else 1


def run_sections(report: Report, scale: Scale, work: Path) -> bool:
    """Run the sections in the order of what they prove; return whether all succeeded."""
    artifacts = []
    passed = report.section("Machine", partial(describe_machine, scale=scale))
    passed &= report.section("Export", lambda report: artifacts.append(export_model(report, scale, work)))
    if artifacts:
        [artifact] = artifacts
        passed &= report.section("Numerics", lambda report: numerics(report, scale, artifact))
        checkpoint = work / "checkpoint"
        passed &= report.section("Embedding", lambda report: embedding_speed(report, scale, artifact, checkpoint))
        passed &= report.section("Two callers", lambda report: streams_speed(report, scale, artifact))
    for count in scale.rows:
        passed &= report.section(f"Ranking {count:,} rows", partial(ranking, scale=scale, count=count))
    passed &= report.section("A larger model", partial(large_speed, scale=scale, work=work))
    return passed


if __name__ == "__main__":
    sys.exit(main())
