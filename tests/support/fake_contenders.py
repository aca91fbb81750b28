"""Contenders that need no library, whose answers and costs are known; and what parts need to run on them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np
from clipshelf_bench.arrays import Array, Pixels
from clipshelf_bench.bench import Bench
from clipshelf_bench.contenders.base import Call, Contender, Job, Task, to_unit_norm
from clipshelf_bench.race.cases import Case
from clipshelf_bench.race.harness import RaceOptions
from clipshelf_bench.race.process import Memory
from clipshelf_bench.subjects.subject import Subject


class Fast(Contender):
    """Mean colours, within a millisecond."""

    name: ClassVar[str] = "fast"
    description: ClassVar[str] = "fake"
    needs_checkpoint: ClassVar[bool] = False
    seconds: ClassVar[float] = 0.001
    error: ClassVar[float] = 0.0

    def tasks(self) -> Mapping[Task, Callable[[Job], Call]]:
        return {"image": self.image}

    def image(self, job: Job) -> Call:
        def call(pixels: Pixels) -> Array:
            time.sleep(self.seconds)
            print("libraries may print")
            colours = pixels.reshape(len(pixels), -1, 3).mean(axis=1) + 1 + self.error * np.arange(3)
            return to_unit_norm(colours)

        return call


class Slow(Fast):
    """The same answers in four times the time."""

    name = "slow"
    seconds = 0.004

    def tasks(self) -> Mapping[Task, Callable[[Job], Call]]:
        return {"image": self.image, "text": self.image}


class Ours(Fast):
    """Has the name of the contender that the others are compared with."""

    name = "clipshelf"


class FromFiles(Fast):
    """Takes encoded pictures and sentences, as well as arrays."""

    name = "from-files"

    def tasks(self) -> Mapping[Task, Callable[[Job], Call]]:
        return dict.fromkeys(("image", "photos", "text", "sentences"), self.image)


class Wrong(Fast):
    """Fast, with other answers."""

    name = "wrong"
    error = 300.0


class Broken(Fast):
    """Raises an error when it is opened."""

    name = "broken"

    def image(self, job: Job) -> Call:
        raise RuntimeError("no such processor")


class Dying(Fast):
    """Ends its process when it is opened."""

    name = "dying"

    def image(self, job: Job) -> Call:
        raise SystemExit(3)


class Absent(Fast):
    """Needs a package that does not exist."""

    name = "absent"
    requires = ("a_package_that_nobody_has",)


class FakeProcess:
    """Grows by a megabyte at each measurement, and takes 2 ms for an item."""

    def __init__(self, *_: object) -> None:
        self.calls, self.measurements = 0, 0

    def open(self, task: str) -> None:
        pass

    def time_calls(self, case: Case, *, count: int = 1, seconds: float = 0.0) -> list[float]:
        self.calls += count
        return [2.0 * case.batch] * count

    def memory(self) -> Memory:
        self.measurements += 1
        return Memory(resident_mb=99.0 + self.measurements, peak_mb=200.0)

    def __enter__(self) -> FakeProcess:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def make_bench(folder: Path) -> Bench:
    """A quick run without subjects and contenders."""
    return Bench([], [], RaceOptions(threads=1), folder, True, lambda _: None, soak_calls=40)


def make_subject(folder: Path) -> Subject:
    """A saved subject of 4 x 4 pictures, without checkpoint and artifact."""
    subject = Subject("fake", folder, None, None, 4, 8)
    subject.save()
    return subject
