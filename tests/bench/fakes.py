"""Contenders that need nothing: their answers and costs are known."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import ClassVar

import numpy as np
from clipshelf_bench.arrays import Array, Pixels
from clipshelf_bench.contenders.base import Call, Contender, Job, unit


class Fast(Contender):
    """Mean colours, at once."""

    name: ClassVar[str] = "fast"
    about: ClassVar[str] = "fake"
    needs_checkpoint: ClassVar[bool] = False
    seconds: ClassVar[float] = 0.001
    error: ClassVar[float] = 0.0

    def openers(self) -> Mapping[str, Callable[[Job], Call]]:
        return {"image": self.image}

    def image(self, job: Job) -> Call:
        def call(pixels: Pixels) -> Array:
            time.sleep(self.seconds)
            print("libraries may print")
            colours = pixels.reshape(len(pixels), -1, 3).mean(axis=1) + 1 + self.error * np.arange(3)
            return unit(colours)

        return call


class Slow(Fast):
    """The same answers, four times as late."""

    name = "slow"
    seconds = 0.004

    def openers(self) -> Mapping[str, Callable[[Job], Call]]:
        return {"image": self.image, "text": self.image}


class Wrong(Fast):
    """Fast, with other answers."""

    name = "wrong"
    error = 300.0


class Broken(Fast):
    """Cannot be opened."""

    name = "broken"

    def image(self, job: Job) -> Call:
        raise RuntimeError("no such processor")


class Dying(Fast):
    """Takes its process down."""

    name = "dying"

    def image(self, job: Job) -> Call:
        raise SystemExit(3)


class Absent(Fast):
    """Needs a package that nobody has."""

    name = "absent"
    requires = ("a_package_that_nobody_has",)
