"""Fair races: a process per contender, rounds in random order, the same inputs and threads for all.

Within a round every contender has one turn, in an order drawn from the seed, so that a drift of the machine meets all
alike. Before its first turn, and after every restart, a contender runs untimed until it is warm. Between turns there
is a pause in which the threads of the last one stop spinning.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from clipshelf_bench import cpu
from clipshelf_bench.contenders.base import Contender

# These make NumPy's OpenBLAS choose kernels for another machine; where they are set, every child runs without them.
UNSET = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_PAUSE = 0.05


class ContenderError(RuntimeError):
    """A contender failed or died; the message is its own."""


@dataclass(frozen=True)
class Plan:
    """How long to measure: `seconds` and at least `runs` calls per turn, `warm` seconds before the first."""

    rounds: int = 15
    runs: int = 3
    seconds: float = 0.6
    warm: float = 1.0
    threads: int = 1
    seed: int = 0
    restart: bool = False


@dataclass(frozen=True)
class Lane:
    """A contender at the start: what it does, and on what."""

    contender: type[Contender]
    task: str
    subject: Path | None = None
    matrix: Path | None = None

    @property
    def name(self) -> str:
        """The contender's name."""
        return self.contender.name


@dataclass(frozen=True)
class Heat:
    """One input of a race: the first `batch` rows of the file are one call."""

    name: str
    input: Path
    batch: int


class Process:
    """One contender in a process of its own."""

    def __init__(self, contender: type[Contender], threads: int) -> None:
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115 closed with the process
        spec = f"{contender.__module__}:{contender.__qualname__}"
        self._child = subprocess.Popen(
            [sys.executable, "-m", "clipshelf_bench.worker", spec],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env=child_environment(threads),
        )

    def ask(self, **message: Any) -> dict[str, Any]:
        """Send a message and wait for the answer; ContenderError with what the contender said."""
        if self._child.stdin is None or self._child.stdout is None:
            raise ContenderError("expected pipes to the contender, found none")
        try:
            self._child.stdin.write(json.dumps(message, default=str) + "\n")
            self._child.stdin.flush()
            line = self._child.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            self._log.seek(0)
            raise ContenderError(f"died with {self._child.wait()}: {' '.join(self._log.read().split())[-300:]}")
        reply: dict[str, Any] = json.loads(line)
        if "error" in reply:
            raise ContenderError(reply["error"])
        return reply

    def open(self, lane: Lane, threads: int) -> float:
        """Open a lane's task and return the seconds it took."""
        reply = self.ask(do="open", task=lane.task, threads=threads, subject=lane.subject, matrix=lane.matrix)
        return float(reply["seconds"])

    def close(self) -> None:
        """End the process."""
        self._child.communicate()
        self._log.close()

    def __enter__(self) -> Process:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


@dataclass
class Race:
    """What was measured: milliseconds per heat, contender, round and run; saved outputs; who fell out and why."""

    samples: dict[str, dict[str, list[list[float]]]]
    outputs: dict[str, dict[str, Path]]
    skipped: dict[str, str]


def child_environment(threads: int) -> dict[str, str]:
    """This process's environment with the same thread limits for every library."""
    kept = {name: value for name, value in os.environ.items() if name not in UNSET}
    return kept | dict.fromkeys(_THREADS, str(threads)) | {"TOKENIZERS_PARALLELISM": "false"}


def missing_reason(contender: type[Contender], subject_has_checkpoint: bool = True) -> str | None:
    """Why a contender cannot start here, None where it can."""
    missing = contender().missing()
    if missing:
        return f"not installed: {', '.join(missing)}"
    if contender.needs_checkpoint and not subject_has_checkpoint:
        return "needs a CLIPModel checkpoint"
    if contender.needs_bf16 and not cpu.has_bf16():
        return "this CPU has no bf16 arithmetic"
    return None


def race(
    lanes: Sequence[Lane], heats: Sequence[Heat], plan: Plan, folder: Path, tell: Callable[[str], None] = print
) -> Race:
    """Run every heat over all lanes; what the contenders answer on whole inputs is saved in `folder`."""
    result = Race({heat.name: {} for heat in heats}, {heat.name: {} for heat in heats}, {})
    processes: dict[str, Process] = {}
    try:
        for lane in lanes:
            _guarded(
                lane, result, partial(_start, lane, heats, plan=plan, folder=folder, processes=processes, result=result)
            )
        order = np.random.default_rng(plan.seed)
        for heat in heats:
            for number in range(plan.rounds):
                tell(f"{heat.name}: round {number + 1} of {plan.rounds}")
                for i in order.permutation(len(lanes)):
                    lane = lanes[i]
                    _guarded(lane, result, partial(_turn, lane, heat, plan, processes, result))
    finally:
        for process in processes.values():
            process.close()
    for times in result.samples.values():
        for name in result.skipped:
            times.pop(name, None)
    return result


def _guarded(lane: Lane, result: Race, step: Callable[[], None]) -> None:
    """Take a step; a contender that fails falls out with its reason and the race goes on."""
    if lane.name in result.skipped:
        return
    try:
        step()
    except ContenderError as error:
        result.skipped[lane.name] = str(error)


def _start(
    lane: Lane, heats: Sequence[Heat], *, plan: Plan, folder: Path, processes: dict[str, Process], result: Race
) -> None:
    """Open a contender, save its outputs, warm it up on every heat."""
    processes[lane.name] = Process(lane.contender, plan.threads)
    processes[lane.name].open(lane, plan.threads)
    for heat in heats:
        output = folder / f"{heat.name}-{lane.name}.npy".replace(" ", "-")
        processes[lane.name].ask(do="save", task=lane.task, input=heat.input, batch=heat.batch, output=output)
        result.outputs[heat.name][lane.name] = output
        _run(processes[lane.name], lane, heat, 1, plan.warm)


def _turn(lane: Lane, heat: Heat, plan: Plan, processes: dict[str, Process], result: Race) -> None:
    """One contender's turn of a round."""
    if plan.restart:
        processes[lane.name].close()
        processes[lane.name] = Process(lane.contender, plan.threads)
        processes[lane.name].open(lane, plan.threads)
        _run(processes[lane.name], lane, heat, 1, plan.warm)
    time.sleep(_PAUSE)
    runs = _run(processes[lane.name], lane, heat, plan.runs, plan.seconds)
    result.samples[heat.name].setdefault(lane.name, []).append(runs)


def _run(process: Process, lane: Lane, heat: Heat, count: int, seconds: float) -> list[float]:
    reply = process.ask(do="run", task=lane.task, input=heat.input, batch=heat.batch, count=count, seconds=seconds)
    runs: list[float] = reply["ms"]
    return runs


def prepare(contenders: Sequence[type[Contender]], subject: Path, threads: int) -> Mapping[str, str]:
    """Let every contender make its files, each in a process of its own; what failed, and why."""
    failed: dict[str, str] = {}
    for contender in contenders:
        with Process(contender, threads) as process:
            try:
                process.ask(do="prepare", subject=subject)
            except ContenderError as error:
                failed[contender.name] = f"could not prepare: {error}"
    return failed
