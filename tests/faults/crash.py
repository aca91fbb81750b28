"""Writers that are killed, and what must be left of them."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
from clipshelf import Catalogue, Engine
from clipshelf.catalogue.indexing import change, index
from clipshelf.catalogue.manifest import MANIFEST, read_manifest
from clipshelf.catalogue.publish import current
from clipshelf.catalogue.sources import Fields
from clipshelf.catalogue.verify import find_problems
from clipshelf.errors import CatalogueError
from clipshelf.files import LOCK
from clipshelf.types import FloatArray, Product

WHERE = {"price": {"<": 40}, "tags": {"contains": "new"}}
# What a writer does to its files; a crash between two of these leaves the same on the disk as anywhere between them.
FILE_CALLS = {"open", "write", "flush", "fsync", "replace", "unlink", "truncate", "mkdir", "flock", "close"}


def products(start: int, stop: int, text: str = "red shoe") -> list[Product]:
    return [
        {"id": f"p{i}", "text": f"{text} {'watch ' * (i % 5)}", "price": i % 97, "tags": ["new", "sale"][: i % 3]}
        for i in range(start, stop)
    ]


@dataclass(frozen=True)
class Operation:
    """A change of a folder from the state that `before` makes."""

    name: str
    before: Callable[[Engine, Path], object]
    run: Callable[[Engine, Path], object]


def build(engine: Engine, folder: Path) -> object:
    return index(engine, products(0, 200), folder, fields=Fields())


def nothing(engine: Engine, folder: Path) -> object:
    return None


OPERATIONS = (
    Operation("build", nothing, build),
    Operation("add", build, lambda engine, folder: change(folder, lambda c: c.add(engine, products(200, 260)))),
    Operation("update", build, lambda e, folder: change(folder, lambda c: c.update(e, products(50, 90, "blue shirt")))),
    Operation("remove", build, lambda _, folder: change(folder, lambda c: c.remove(f"p{i}" for i in range(0, 200, 3)))),
)


@dataclass(frozen=True)
class State:
    """All that a reader sees of a catalogue."""

    ids: list[str]
    products: list[Product]
    embeddings: FloatArray
    mask: list[bool]
    statistics: dict[str, Any]

    @classmethod
    def of(cls, folder: Path) -> State | None:
        """The state of a folder, None where no catalogue is yet; fails on anything else."""
        if current(folder) is None:
            return None
        catalogue = Catalogue.load(folder)
        return cls(
            list(catalogue.ids),
            list(catalogue.products),
            np.array(catalogue.embeddings),
            catalogue.mask(WHERE).tolist(),
            catalogue.statistics.to_dict(),
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, State):
            return NotImplemented
        same = all(getattr(self, name) == getattr(other, name) for name in ("ids", "products", "mask", "statistics"))
        return same and np.array_equal(self.embeddings, other.embeddings)

    __hash__ = None  # type: ignore[assignment]


class Stage:
    """Runs one operation in children that die, each on a fresh copy of the state before."""

    def __init__(self, operation: Operation, engine: Engine, folder: Path) -> None:
        self._operation = operation
        self._engine = engine
        self._template, self._folder = folder / "template", folder / "shop"
        self._template.mkdir()
        operation.before(engine, self._template)
        self._before = State.of(self._template)
        self._reset()
        self.duration, self.calls = self._rehearse(folder / "calls")
        self._after = State.of(self._folder)
        if self._after is None or self._after == self._before:
            raise AssertionError(f"{operation.name}: expected another state after it")

    def kill_after(self, seconds: float) -> str:
        """Kill a writer after some time; which state is left, "before" or "after"."""
        self._reset()
        child = self._fork(lambda: None)
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        outcome = self._outcome()
        self._check_next_write(outcome)
        return outcome

    def kill_at(self, call: int) -> str:
        """Kill a writer just before one of its file calls; which state is left."""
        self._reset()
        _, status = os.waitpid(self._fork(lambda: sys.setprofile(_Killer(call))), 0)
        if not os.WIFSIGNALED(status):
            raise AssertionError(f"{self._operation.name}: expected {call} file calls, found fewer")
        return self._outcome()

    def _outcome(self) -> str:
        found = State.of(self._folder)
        if found is not None and (problems := find_problems(self._folder)):
            raise AssertionError(problems)
        for name, state in (("before", self._before), ("after", self._after)):
            if found == state:
                return name
        raise AssertionError(f"{self._operation.name}: expected the state before or after, found another")

    def _check_next_write(self, outcome: str) -> None:
        """The next writer finds its way, and leaves nothing but what counts."""
        if outcome == "before":
            self._operation.run(self._engine, self._folder)
        else:
            Catalogue.load(self._folder).save(self._folder)
        if State.of(self._folder) != self._after:
            raise AssertionError(f"{self._operation.name}: expected the state after it, found another")
        found = {path.name for path in self._folder.iterdir()}
        if found != {MANIFEST, LOCK, *read_manifest(self._folder).files}:
            raise AssertionError(f"{self._operation.name}: expected no leftovers, found {sorted(found)}")

    def _rehearse(self, tally: Path) -> tuple[float, int]:
        """How long a whole run takes in seconds, and how many file calls it makes."""
        start = time.perf_counter()
        _wait(self._fork(lambda: None))
        duration = time.perf_counter() - start
        self._reset()
        counter = _Killer(-1)
        _wait(self._fork(lambda: sys.setprofile(counter), lambda: tally.write_text(str(counter.calls))))
        return duration, int(tally.read_text())

    def _reset(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
        shutil.copytree(self._template, self._folder)

    def _fork(self, prepare: Callable[[], object], finish: Callable[[], object] = lambda: None) -> int:
        child = os.fork()
        if child:
            return child
        code = 1
        try:
            prepare()
            self._operation.run(self._engine, self._folder)
            sys.setprofile(None)
            finish()
            code = 0
        finally:
            os._exit(code)


class _Killer:
    """A profile function that counts file calls and dies before the one with a given number."""

    def __init__(self, last: int) -> None:
        self.calls = 0
        self._last = last

    def __call__(self, frame: FrameType, event: str, arg: Any) -> None:
        if event == "c_call" and arg.__name__ in FILE_CALLS:
            if self.calls == self._last:
                os.kill(os.getpid(), signal.SIGKILL)
            self.calls += 1


def _wait(child: int) -> None:
    if os.waitpid(child, 0)[1]:
        raise AssertionError("expected the writer to finish")


def moments(seed: int, count: int, duration: float) -> Iterable[float]:
    generator = random.Random(seed)
    return (generator.uniform(0, 1.1 * duration) for _ in range(count))


def expect_error(folder: Path) -> str:
    """The message with which a catalogue in `folder` is refused."""
    try:
        Catalogue.load(folder)
    except CatalogueError as error:
        return str(error)
    raise AssertionError(f"{folder}: expected an error")
