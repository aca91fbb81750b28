"""What a contender is: a name, what it needs installed, and a function to open for each task it can do.

Tasks, and what the opened function takes and gives (S picture edge, D embedding dim, k results):

    image      pixels uint8 (B, S, S, 3)     -> unit-norm float32 (B, D)
    text       input_ids int64 (B, L)        -> unit-norm float32 (B, D)
    pixels     encoded pictures, list[bytes] -> pixels uint8 (n, S, S, 3)
    photos     encoded pictures, list[bytes] -> unit-norm float32 (n, D)
    sentences  list[str]                     -> unit-norm float32 (n, D)
    answer     [sentence, photo bytes]       -> rows int64 (1, k) of the catalogue
    shelf      the same                      -> rows int64 (1, k) of a folder of products, see `datasets.reading`
    rank       queries float32 (Q, D)        -> rows int64 (Q, k)
    profiles   liked rows int64 (Q, L)       -> rows int64 (Q, k) of the catalogue

Everything that the task says happens inside the timed call: normalisation of pixels, pooling, the norm.
To add a contender: one file with a subclass of `Contender`, one line in `contenders/__init__.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from clipshelf_bench.arrays import Array, FloatArray, Pixels
from clipshelf_bench.subjects.subject import Subject

Call: TypeAlias = Callable[[Any], Array]
Opened = TypeVar("Opened")
K = 10

# OpenAI's CLIP, as in CLIPImageProcessor; a checkpoint with others has them in its preprocessor_config.json.
MEAN = np.array([0.48145466, 0.4578275, 0.40821073], np.float32)
STD = np.array([0.26862954, 0.26130258, 0.27577711], np.float32)


@dataclass(frozen=True)
class Job:
    """What a contender is opened on.

    `matrix` is a .npy file of product rows (N, D) for the ranking tasks, `shelf` the folder of the task of that name.
    """

    threads: int
    subject: Subject | None = None
    matrix: Path | None = None
    shelf: Path | None = None

    @property
    def model(self) -> Subject:
        """The subject; ValueError where the task has none."""
        if self.subject is None:
            raise ValueError("expected a subject for this task, found none")
        return self.subject

    @property
    def products(self) -> Path:
        """The folder of products; ValueError where the task has none."""
        if self.shelf is None:
            raise ValueError("expected a shelf for this task, found none")
        return self.shelf

    @property
    def count(self) -> int:
        """N, without reading the matrix; ValueError where the task has none."""
        if self.matrix is None:
            raise ValueError("expected a matrix for this task, found none")
        return len(np.load(self.matrix, mmap_mode="r"))

    def rows(self) -> FloatArray:
        """The product matrix (N, D) float32; ValueError where the task has none."""
        if self.matrix is None:
            raise ValueError("expected a matrix for this task, found none")
        rows: FloatArray = np.load(self.matrix)
        return rows


class Contender:
    """One way to do the tasks. Subclasses import their libraries inside their methods only."""

    name: ClassVar[str]
    about: ClassVar[str]
    requires: ClassVar[tuple[str, ...]] = ()
    needs_checkpoint: ClassVar[bool] = True
    needs_bf16: ClassVar[bool] = False
    # whether `--quick` runs it; False for a variant of another one, or what takes long to start
    quick: ClassVar[bool] = True

    def __init__(self) -> None:
        self._opened: dict[Job, Any] = {}

    def once(self, job: Job, load: Callable[[Job], Opened]) -> Opened:
        """What `load` gives for a job, loaded once for all of its tasks: a model with both towers, say."""
        if job not in self._opened:
            self._opened[job] = load(job)
        opened: Opened = self._opened[job]
        return opened

    def openers(self) -> Mapping[str, Callable[[Job], Call]]:
        """For each task, the method that opens it."""
        raise NotImplementedError

    def prepare(self, subject: Subject) -> None:
        """Make the files that opening needs, once. Runs in a process of its own, untimed."""

    def disk(self, subject: Subject) -> Path | None:
        """Folder that a deployment would ship; None where that is nothing of its own."""
        return subject.prepared(self.name)

    def missing(self) -> list[str]:
        """Modules that are not installed."""
        return [name for name in self.requires if not _installed(name)]


def _installed(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:  # the package of a submodule
        return False


def normalise(pixels: Pixels) -> FloatArray:
    """Pixels (B, S, S, 3) to what CLIP's plain exports take: (B, 3, S, S) float32, mean and std applied."""
    scaled = pixels * (1 / (255 * STD)) - MEAN / STD
    return np.ascontiguousarray(scaled.transpose(0, 3, 1, 2), dtype=np.float32)


def unit(rows: npt.NDArray[np.floating]) -> FloatArray:
    """Rows (B, D) scaled to unit norm, float32."""
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)
