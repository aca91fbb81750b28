"""The towers on a CPU with AVX2 and without AVX-512, VNNI and AMX, which a newer one can stand in for."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace

from clipshelf_bench.bench import SHORT_TOKENS, Bench
from clipshelf_bench.contenders.clipshelf_runtime import OURS, ClipshelfFunctions
from clipshelf_bench.datasets.cache import cache_folder
from clipshelf_bench.machine.compiled import compiled_library
from clipshelf_bench.machine.environment import child_environment
from clipshelf_bench.race.harness import race
from clipshelf_bench.stats import time_columns
from clipshelf_bench.subjects.subject import Subject
from clipshelf_bench.tables import Table, TableRow

_CONTENDERS = (OURS, ClipshelfFunctions.name, "openvino-int8", "ort-dynamic-int8")
_COLUMNS = ("case", "contender", "p50_ms", "p95_ms", "ratio")
_NOTE = (
    "The CPUID instruction of each contender is answered without AVX-512, VNNI and AMX, so that each library "
    "chooses its kernels for AVX2. Clock and caches are those of this machine. ratio: median of clipshelf over median "
    "of the contender, with its 95% bootstrap interval."
)
_PROBE = "from clipshelf.runtime.native import describe_kernels; print(describe_kernels())"


def avx2(bench: Bench) -> list[Table]:
    """Milliseconds of one picture and of one sentence of 12 tokens with AVX2 alone."""
    tables = []
    for subject in bench.subjects:
        title = f"AVX2 without VNNI: {subject.name}"
        try:
            environment = _environment()
        except RuntimeError as error:
            tables.append(Table("avx2", title, _COLUMNS, [], [_NOTE], {"all": str(error)}))
            continue
        rows, skipped = _rows(bench, subject, environment)
        tables.append(Table("avx2", title, _COLUMNS, rows, [_NOTE], skipped))
    return tables


def _environment() -> dict[str, str]:
    """Variables of a process that sees AVX2 alone. Raises RuntimeError where that cannot be had or has no effect."""
    environment = {"LD_PRELOAD": str(compiled_library("avx2_only", cache_folder()))}
    probe = [sys.executable, "-c", _PROBE]
    done = subprocess.run(probe, env=child_environment(1) | environment, capture_output=True, text=True, check=False)
    if done.stdout.strip() != "avx2":
        raise RuntimeError(f"expected the kernels of AVX2, found {done.stdout.strip() or done.stderr.strip()[-300:]}")
    return environment


def _rows(bench: Bench, subject: Subject, environment: Mapping[str, str]) -> tuple[list[TableRow], dict[str, str]]:
    """A row per case and contender, the fastest of a case first, and why contenders are missing."""
    cases = [bench.image_case(subject, 1), bench.text_case(subject, SHORT_TOKENS, 1)]
    entries, skipped = bench.entries("image", "text", subject=subject)
    entries = [entry for entry in entries if entry.name in _CONTENDERS]
    options = replace(bench.options, environment=environment)
    result = race(entries, cases, options, bench.folder, bench.notify, save=False)
    rows: list[TableRow] = []
    for case in cases:
        samples = result.samples[case.name]
        unsorted: list[TableRow] = [
            {"case": case.name, "contender": name, **time_columns(rounds, samples.get(OURS))}
            for name, rounds in samples.items()
        ]
        rows += sorted(unsorted, key=lambda row: float(row["p50_ms"]))
    return rows, {name: reason for name, reason in (skipped | result.skipped).items() if name in _CONTENDERS}
