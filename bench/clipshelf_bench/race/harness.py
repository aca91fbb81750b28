"""Fair races: a process per contender, rounds in random order, the same inputs and threads for all.

Within a round every contender has one turn, in an order drawn from the seed, so that a drift of the machine meets all
alike. Before a heat, and after every restart, a contender runs untimed until it is warm. Between turns there is a
pause in which the threads of the last one stop spinning. What a contender answers on the whole input of a heat is
saved once in a run of the bench, untimed, by whichever part needs it first.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from clipshelf_bench.contenders.base import Contender
from clipshelf_bench.machine import cpu
from clipshelf_bench.race.process import ContenderError, Process

_PAUSE = 0.05
# Opening is mostly importing, in one thread. Product matrices are large, and what is built of them is too.
_OPENED_AT_ONCE = 2


@dataclass(frozen=True)
class Plan:
    """How long to measure: `seconds` and at least `runs` calls per turn, `warm` seconds before a heat."""

    rounds: int = 5
    runs: int = 3
    seconds: float = 0.2
    warm: float = 0.5
    threads: int = 1
    seed: int = 0
    restart: bool = False


@dataclass(frozen=True)
class Heat:
    """One input of a race: the first `batch` rows of the file are one call of the task."""

    name: str
    task: str
    input: Path
    batch: int


@dataclass(frozen=True)
class Lane:
    """A contender at the start, and what it runs on."""

    contender: type[Contender]
    subject: Path | None = None
    matrix: Path | None = None

    @property
    def name(self) -> str:
        """The contender's name."""
        return self.contender.name

    def enters(self, heat: Heat) -> bool:
        """Whether the contender does the task of a heat."""
        return heat.task in self.contender().openers()

    def answers(self, heat: Heat, folder: Path) -> Path:
        """File in `folder` of what the contender answers on the whole input of a heat."""
        subject = self.subject.parent.name if self.subject else "rows"
        return folder / f"{subject}--{heat.name.replace(' ', '-')}--{self.name}.npy"


@dataclass
class Race:
    """What was measured: milliseconds per heat, contender, round and run; saved outputs; who fell out and why."""

    samples: dict[str, dict[str, list[list[float]]]]
    outputs: dict[str, dict[str, Path]]
    skipped: dict[str, str] = field(default_factory=dict)


def missing_reason(contender: type[Contender]) -> str | None:
    """Why a contender cannot start here, None where it can."""
    missing = contender().missing()
    if missing:
        return f"not installed: {', '.join(missing)}"
    if contender.needs_bf16 and not cpu.has_bf16():
        return "this CPU has no bf16 arithmetic"
    return None


def race(
    lanes: Sequence[Lane],
    heats: Sequence[Heat],
    plan: Plan,
    folder: Path,
    tell: Callable[[str], None] = print,
    *,
    save: bool = True,
) -> Race:
    """Run every heat over the lanes that do its task; with `save`, their answers on whole inputs go to `folder`."""
    result = Race({heat.name: {} for heat in heats}, {heat.name: {} for heat in heats})
    order = np.random.default_rng(plan.seed)
    tell("opening " + ", ".join(lane.name for lane in lanes))
    with _opened(lanes, heats, plan, result) as runners:
        for heat in heats:
            entered = [runner for runner in runners if runner.lane.enters(heat)]
            for runner in entered:
                tell(f"{heat.name}: warming up {runner.lane.name}")
                runner.ready(heat, folder if save else None)
            for number in range(plan.rounds):
                tell(f"{heat.name}: round {number + 1} of {plan.rounds}")
                for i in order.permutation(len(entered)):
                    entered[i].turn(heat)
    for name in result.skipped:
        for heat in heats:
            result.samples[heat.name].pop(name, None)
            result.outputs[heat.name].pop(name, None)
    return result


def answers(
    lanes: Sequence[Lane], heats: Sequence[Heat], plan: Plan, folder: Path, tell: Callable[[str], None] = print
) -> Race:
    """A race without rounds, for the answers alone; lanes whose answers are all there start no process."""
    saved = [lane for lane in lanes if all(lane.answers(heat, folder).is_file() for heat in heats if lane.enters(heat))]
    result = race([lane for lane in lanes if lane not in saved], heats, replace(plan, rounds=0), folder, tell)
    for heat in heats:
        result.outputs[heat.name] |= {lane.name: lane.answers(heat, folder) for lane in saved if lane.enters(heat)}
    return result


@contextmanager
def _opened(lanes: Sequence[Lane], heats: Sequence[Heat], plan: Plan, result: Race) -> Iterator[list[_Runner]]:
    """A process per lane, with the tasks of the heats open; all of them end with the block."""
    runners = [_Runner(lane, [heat.task for heat in heats if lane.enters(heat)], plan, result) for lane in lanes]
    at_once = 1 if any(lane.matrix for lane in lanes) else _OPENED_AT_ONCE
    try:
        with ThreadPoolExecutor(at_once) as pool:
            list(pool.map(_Runner.open, runners))
        yield runners
    finally:
        for runner in runners:
            runner.close()


class _Runner:
    """One contender in a race. Where a step fails it falls out with its reason, and the race goes on."""

    def __init__(self, lane: Lane, tasks: Sequence[str], plan: Plan, result: Race) -> None:
        self.lane = lane
        self._tasks, self._plan, self._result = tuple(dict.fromkeys(tasks)), plan, result
        self._process: Process | None = None

    def open(self) -> None:
        """Start the process and open every task."""
        self._process = Process(self.lane.contender, self._plan.threads)
        ran_on = {"subject": self.lane.subject, "matrix": self.lane.matrix, "threads": self._plan.threads}
        for task in self._tasks:
            self._ask(do="open", task=task, **ran_on)

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.close()

    def ready(self, heat: Heat, folder: Path | None) -> None:
        """Save the answers on the whole input in `folder`, unless an earlier race did, and warm up."""
        if folder is not None:
            output = self.lane.answers(heat, folder)
            if not output.is_file():
                self._ask(do="save", task=heat.task, input=heat.input, batch=heat.batch, output=output)
            self._result.outputs[heat.name][self.lane.name] = output
        if self._plan.rounds:
            self._run(heat, 1, self._plan.warm)

    def turn(self, heat: Heat) -> None:
        """Run timed, for one round."""
        if self._plan.restart:
            self.close()
            self.open()
            self._run(heat, 1, self._plan.warm)
        time.sleep(_PAUSE)
        runs = self._run(heat, self._plan.runs, self._plan.seconds)
        self._result.samples[heat.name].setdefault(self.lane.name, []).append(runs)

    def _run(self, heat: Heat, count: int, seconds: float) -> list[float]:
        asked = {"task": heat.task, "input": heat.input, "batch": heat.batch, "count": count, "seconds": seconds}
        found: list[float] = self._ask(do="run", **asked).get("ms", [])
        return found

    def _ask(self, **message: Any) -> Mapping[str, Any]:
        """The answer; empty where the contender fell out, now or before."""
        if self._process is None or self.lane.name in self._result.skipped:
            return {}
        try:
            return self._process.ask(**message)
        except ContenderError as error:
            self._result.skipped[self.lane.name] = str(error)
            return {}
