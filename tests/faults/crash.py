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
from typing import Any, TypeAlias, get_args

import numpy as np
from clipshelf import Catalogue, Engine
from clipshelf.catalogue.disk.folder import REEMBED_LOCK, current_manifest
from clipshelf.catalogue.disk.journal import is_reembedding
from clipshelf.catalogue.disk.manifest import MANIFEST, Part, read_manifest
from clipshelf.catalogue.disk.part_files import part_arrays
from clipshelf.catalogue.disk.verify import find_problems
from clipshelf.catalogue.indexing import change, index
from clipshelf.catalogue.reembedding import reembed, switch, switch_back
from clipshelf.catalogue.side_parts import SideParts
from clipshelf.errors import CatalogueError
from clipshelf.files import LOCK
from clipshelf.types import FloatArray, Product
from support import tiny

WHERE = {"price": {"<": 40}, "tags": {"contains": "new"}}
# What a writer does to its files; a crash between two of these leaves the same on the disk as anywhere between them.
FILE_CALLS = {
    "open",
    "write",
    "flush",
    "fsync",
    "replace",
    "unlink",
    "truncate",
    "ftruncate",
    "mkdir",
    "flock",
    "close",
}

LOCKS = {LOCK, REEMBED_LOCK}

Files: TypeAlias = dict[str, bytes]


def products(start: int, stop: int, text: str = "red shoe") -> list[Product]:
    """Products, every seventh of which has two texts."""
    texts = [f"{text} {'watch ' * (i % 5)}" for i in range(stop)]
    return [
        {
            "id": f"p{i}",
            "text": texts[i] if i % 7 else [texts[i], "warm"],
            "price": i % 97,
            "tags": ["new", "sale"][: i % 3],
        }
        for i in range(start, stop)
    ]


@dataclass(frozen=True)
class Operation:
    """A change of a folder from the state that `before` makes."""

    name: str
    before: Callable[[Engine, Path], object]
    run: Callable[[Engine, Path], object]


def build(engine: Engine, folder: Path) -> object:
    return index(engine, products(0, 200), folder)


def other_model(engine: Engine) -> Engine:
    """An engine with another model, in a folder beside that of `engine`."""
    path = engine.artifact.path.parent / "another-model"
    return Engine.load(path if path.exists() else tiny.write_artifact(path, dim=6, seed=1), threads=1)


def build_and_reembed(engine: Engine, folder: Path) -> object:
    build(engine, folder)
    return reembed(other_model(engine), folder)


def build_and_switch(engine: Engine, folder: Path) -> object:
    build_and_reembed(engine, folder)
    return switch(folder)


def nothing(engine: Engine, folder: Path) -> object:
    return None


OPERATIONS = (
    Operation("build", nothing, build),
    Operation("add", build, lambda engine, folder: change(folder, lambda c: c.add(engine, products(200, 260)))),
    Operation("update", build, lambda e, folder: change(folder, lambda c: c.update(e, products(50, 90, "blue shirt")))),
    Operation("remove", build, lambda _, folder: change(folder, lambda c: c.remove(f"p{i}" for i in range(0, 200, 3)))),
    Operation("reembed", build, lambda engine, folder: reembed(other_model(engine), folder)),
    Operation("switch", build_and_reembed, lambda _, folder: switch(folder)),
    Operation("switch-back", build_and_switch, lambda _, folder: switch_back(folder)),
)


@dataclass(frozen=True)
class State:
    """All that a reader sees of a catalogue."""

    ids: list[str]
    products: list[Product]
    embeddings: FloatArray
    mask: list[bool]
    parts: bytes
    statistics: dict[str, Any]
    beside: list[tuple[str, list[str], bytes]]

    @classmethod
    def of(cls, folder: Path) -> State | None:
        """The state of a folder, None where no catalogue is yet; fails on anything else."""
        if current_manifest(folder) is None:
            return None
        catalogue = Catalogue.load(folder)
        return cls(
            list(catalogue.ids),
            list(catalogue.products),
            np.array(catalogue.embeddings),
            catalogue.mask(WHERE).tolist(),
            _content(catalogue.contents.parts),
            catalogue.statistics.to_dict(),
            [cls._beside(folder, part) for part in get_args(Part) if getattr(read_manifest(folder), part, None)],
        )

    @staticmethod
    def _beside(folder: Path, part: Part) -> tuple[str, list[str], bytes]:
        catalogue = Catalogue.load(folder, part=part)
        content = np.array(catalogue.embeddings).tobytes() + _content(catalogue.contents.parts)
        return part, list(catalogue.ids), content

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, State):
            return NotImplemented
        same = all(
            getattr(self, name) == getattr(other, name)
            for name in ("ids", "products", "mask", "parts", "statistics", "beside")
        )
        return same and np.array_equal(self.embeddings, other.embeddings)

    __hash__ = None  # type: ignore[assignment]


def _content(parts: SideParts) -> bytes:
    return b"".join(array.tobytes() for _, array in part_arrays(parts))


class Stage:
    """Runs one operation on copies of the state before it, and tells what a death on the way leaves."""

    def __init__(self, operation: Operation, engine: Engine, folder: Path) -> None:
        self._operation = operation
        self._engine = engine
        self._template, self._folder = folder / "template", folder / "shop"
        self._template.mkdir()
        operation.before(engine, self._template)
        self._before = State.of(self._template)
        self._outcomes = dict[frozenset[tuple[str, bytes]], str]()
        self._reset()
        operation.run(engine, self._folder)
        self._after = State.of(self._folder)
        if self._after is None or self._after == self._before:
            raise AssertionError(f"{operation.name}: expected another state after it")

    def duration(self) -> float:
        """How long a child takes for the whole operation, in seconds."""
        self._reset()
        start = time.perf_counter()
        if os.waitpid(self._fork(), 0)[1]:
            raise AssertionError("expected the writer to finish")
        return time.perf_counter() - start

    def kill_after(self, seconds: float) -> str:
        """Kill a writer after some time; which state is left, "before" or "after"."""
        self._reset()
        child = self._fork()
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return self._outcome()

    def kill_at_calls(self) -> list[str]:
        """Which state a kill just before each file call would leave, "before" or "after".

        One run is enough: what is on the disk before a call is what a kill there leaves, for a killed process writes
        none of its buffers.
        """
        self._reset()
        watcher = _Watcher(self._folder)
        tracer = sys.getprofile()
        sys.setprofile(watcher)
        try:
            self._operation.run(self._engine, self._folder)
        finally:
            sys.setprofile(tracer)
        outcomes = [self._outcome_of(files) for files in watcher.states]
        return [outcomes[index] for index in watcher.calls]

    def _outcome_of(self, files: Files) -> str:
        shutil.rmtree(self._folder)
        self._folder.mkdir()
        for name, content in files.items():
            (self._folder / name).write_bytes(content)
        return self._outcome()

    def _outcome(self) -> str:
        """The state that the folder is in; the next writer must find its way from there.

        All of that follows from the files, so that those that were found before are not judged again. The lock's text
        is a process id, which nobody but its holder's rivals read.
        """
        files = frozenset((path.name, path.read_bytes()) for path in self._folder.iterdir() if path.name not in LOCKS)
        if files not in self._outcomes:
            self._outcomes[files] = self._judge()
        return self._outcomes[files]

    def _judge(self) -> str:
        found = State.of(self._folder)
        if found is not None and (problems := find_problems(self._folder)):
            raise AssertionError(problems)
        for name, state in (("before", self._before), ("after", self._after)):
            if found == state:
                self._check_next_write(name)
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
        # The next `reembed` finds what an interrupted one has left.
        found = {path.name for path in self._folder.iterdir() if not is_reembedding(path.name)} - LOCKS
        named = {name for manifest in read_manifest(self._folder).generations for name in manifest.files}
        if found != {MANIFEST, *named}:
            raise AssertionError(f"{self._operation.name}: expected no leftovers, found {sorted(found)}")

    def _reset(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
        shutil.copytree(self._template, self._folder)

    def _fork(self) -> int:
        child = os.fork()
        if child:
            return child
        code = 1
        try:
            self._operation.run(self._engine, self._folder)
            code = 0
        finally:
            os._exit(code)


class _Watcher:
    """A profile function that keeps the files of a folder as they are before each file call.

    `states` are the different ones in order, `calls` says for each call which of them it found.
    """

    def __init__(self, folder: Path) -> None:
        self.states: list[Files] = []
        self.calls: list[int] = []
        self._folder = folder

    def __call__(self, frame: FrameType, event: str, arg: Any) -> None:
        if event == "c_call" and arg.__name__ in FILE_CALLS:
            files = {path.name: path.read_bytes() for path in self._folder.iterdir()}
            if not self.states or files != self.states[-1]:
                self.states.append(files)
            self.calls.append(len(self.states) - 1)


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


def main() -> None:
    """Kill writers at random moments, and print what each left. usage: crash.py OPERATION ARTIFACT FOLDER COUNT"""
    name, artifact, folder, count = sys.argv[1:]
    operation = next(operation for operation in OPERATIONS if operation.name == name)
    stage = Stage(operation, Engine.load(artifact, threads=1), Path(folder))
    for moment in moments(0, int(count), stage.duration()):
        print(stage.kill_after(moment))


if __name__ == "__main__":
    main()
