"""Fair races: a process per contender, rounds in random order, the same inputs and threads for all.

Every contender has one turn in each round, in an order drawn from the seed, so that a machine that becomes slower
slows all of them. Before a case, and after a restart, a contender runs untimed until it is warm. Between turns there
is a pause in which the threads of the previous contender stop spinning. What a contender returns on the whole input
of a case is saved once per run of the bench, untimed, by the first part that needs it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np

from clipshelf_bench.contenders.base import Task
from clipshelf_bench.race.cases import Case, Entry
from clipshelf_bench.race.process import ContenderError, ContenderProcess

Returned = TypeVar("Returned")

_PAUSE_SECONDS = 0.05
# Opening is mostly importing, which takes one thread.
_OPEN_AT_ONCE = 2


@dataclass(frozen=True)
class RaceOptions:
    """How long to measure, and how.

    - `rounds`: turns of every contender in a case; 0 saves outputs and times nothing.
    - `runs`, `seconds`: least calls and least seconds of a turn.
    - `warm`: seconds of untimed calls before a case.
    - `threads`: threads of every contender.
    - `seed`: of the order of turns.
    - `restart`: whether every turn gets a new process.
    - `environment`: further variables of the contenders' processes.
    """

    rounds: int = 5
    runs: int = 3
    seconds: float = 0.2
    warm: float = 0.5
    threads: int = 1
    seed: int = 0
    restart: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass
class RaceResult:
    """What a race measured.

    - `samples`: milliseconds by case, contender, round and call.
    - `outputs`: .npy files by case and contender.
    - `skipped`: why contenders are missing, by name. A contender that fails in one case is missing in all.
    """

    samples: dict[str, dict[str, list[list[float]]]]
    outputs: dict[str, dict[str, Path]]
    skipped: dict[str, str] = field(default_factory=dict)


def race(
    entries: Sequence[Entry],
    cases: Sequence[Case],
    options: RaceOptions,
    folder: Path,
    notify: Callable[[str], None],
    *,
    save: bool = True,
) -> RaceResult:
    """Time every case on all contenders that support it.

    - `entries`: the contenders, and what they run on.
    - `cases`: the inputs, in the order of measuring.
    - `options`: how long to measure.
    - `folder`: keeps saved outputs.
    - `notify`: called with one line about the next step.
    - `save`: whether to save what contenders return on whole inputs.
    """
    result = RaceResult({case.name: {} for case in cases}, {case.name: {} for case in cases})
    order = np.random.default_rng(options.seed)
    notify("opening " + ", ".join(entry.name for entry in entries))
    with _open_all(entries, cases, options, result) as racers:
        for case in cases:
            entered = [racer for racer in racers if racer.entry.supports(case)]
            for racer in entered:
                notify(f"{case.name}: warming up {racer.entry.name}")
                racer.get_ready(case, folder if save else None)
            for number in range(options.rounds):
                notify(f"{case.name}: round {number + 1} of {options.rounds}")
                for i in order.permutation(len(entered)):
                    entered[i].take_turn(case)
    for name in result.skipped:
        for case in cases:
            result.samples[case.name].pop(name, None)
            result.outputs[case.name].pop(name, None)
    return result


def save_outputs(
    entries: Sequence[Entry],
    cases: Sequence[Case],
    options: RaceOptions,
    folder: Path,
    notify: Callable[[str], None],
) -> RaceResult:
    """Save what contenders return on whole inputs, without timing.

    The parameters are those of `race`. A contender whose outputs are all in `folder` starts no process.
    """
    saved = [entry for entry in entries if _has_all_outputs(entry, cases, folder)]
    unsaved = [entry for entry in entries if entry not in saved]
    result = race(unsaved, cases, replace(options, rounds=0), folder, notify)
    for case in cases:
        result.outputs[case.name] |= {
            entry.name: entry.output_file(case, folder) for entry in saved if entry.supports(case)
        }
    return result


def _has_all_outputs(entry: Entry, cases: Sequence[Case], folder: Path) -> bool:
    return all(entry.output_file(case, folder).is_file() for case in cases if entry.supports(case))


@contextmanager
def _open_all(
    entries: Sequence[Entry], cases: Sequence[Case], options: RaceOptions, result: RaceResult
) -> Iterator[list[_Racer]]:
    """A process for each entry, with the tasks of the cases open; all processes end with the block."""
    racers = [_Racer(entry, cases, options, result) for entry in entries]
    # A matrix is large, and so is the index that a contender builds from it.
    at_once = 1 if any(entry.matrix for entry in entries) else _OPEN_AT_ONCE
    try:
        with ThreadPoolExecutor(at_once) as pool:
            list(pool.map(_Racer.open, racers))
        yield racers
    finally:
        for racer in racers:
            racer.close()


class _Racer:
    """One contender in a race. After its first error it is skipped, and the race goes on without it."""

    def __init__(self, entry: Entry, cases: Sequence[Case], options: RaceOptions, result: RaceResult) -> None:
        self.entry = entry
        self._tasks: tuple[Task, ...] = tuple(dict.fromkeys(case.task for case in cases if entry.supports(case)))
        self._options, self._result = options, result
        self._process: ContenderProcess | None = None

    def open(self) -> None:
        """Start the process and open every task."""
        self._process = ContenderProcess(self.entry, self._options.threads, self._options.environment)
        for task in self._tasks:
            self._attempt(partial(ContenderProcess.open, task=task))

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.close()

    def get_ready(self, case: Case, folder: Path | None) -> None:
        """Save the output on the whole input in `folder`, unless an earlier race did, and warm up."""
        if folder is not None:
            output = self.entry.output_file(case, folder)
            if not output.is_file():
                self._attempt(lambda process: process.save_output(case, output))
            self._result.outputs[case.name][self.entry.name] = output
        if self._options.rounds:
            self._warm_up(case)

    def take_turn(self, case: Case) -> None:
        """Time the calls of one round."""
        if self._options.restart:
            self.close()
            self.open()
            self._warm_up(case)
        time.sleep(_PAUSE_SECONDS)
        runs, seconds = self._options.runs, self._options.seconds
        times = self._attempt(lambda process: process.time_calls(case, count=runs, seconds=seconds))
        self._result.samples[case.name].setdefault(self.entry.name, []).append(times or [])

    def _warm_up(self, case: Case) -> None:
        self._attempt(lambda process: process.time_calls(case, seconds=self._options.warm))

    def _attempt(self, step: Callable[[ContenderProcess], Returned]) -> Returned | None:
        """What a step returns; None where the contender fails, now or before."""
        if self._process is None or self.entry.name in self._result.skipped:
            return None
        try:
            return step(self._process)
        except ContenderError as error:
            self._result.skipped[self.entry.name] = str(error)
            return None
