"""Embedding on Ray that something happens to, and the files that come of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from clipshelf.scale.index_plan import Plan
from clipshelf.scale.ray_indexing import RayExecutor


@dataclass(frozen=True)
class InterruptedExecutor(RayExecutor):
    """Embeds on Ray, and calls `interrupt` with the number of chunks that are there when the first one is."""

    interrupt: Callable[[int], object] = print

    def embed(self, plan: Plan) -> Iterator[int]:
        for number, count in enumerate(super().embed(plan)):
            if number == 0:
                self.interrupt(len(list(plan.building.glob("*-*.npz"))))
            yield count


def files_of_catalogue(folder: Path) -> dict[str, bytes]:
    """The content of all files of a catalogue by their paths."""
    paths = [path for path in folder.rglob("*") if path.is_file() and path.name != ".lock"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}
