"""What a contender is, and how to add one.

A contender is one way to do some of the tasks below: a library, or a variant of one. It runs in a process of its own,
which opens a task once, untimed, and then times calls of the function that opening returned.

Tasks, and what a call takes and returns (B batch, S edge of a picture, L tokens or liked rows, D embedding dimension,
Q queries, k = `TOP_K` results):

    image            pixels uint8 (B, S, S, 3)      -> unit-norm float32 (B, D)
    text             input_ids int64 (B, L)         -> unit-norm float32 (B, D)
    pixels           encoded pictures, list[bytes]  -> pixels uint8 (B, S, S, 3)
    photos           encoded pictures, list[bytes]  -> unit-norm float32 (B, D)
    sentences        list[str]                      -> unit-norm float32 (B, D)
    recommend        [sentence, photo bytes]        -> rows int64 (1, k) of the matrix (N, 2D)
    recommend_files  [sentence, photo bytes]        -> rows int64 (1, k) of the folder of products
    rank             queries float32 (Q, D)         -> rows int64 (Q, k) of the matrix (N, D)
    profiles         liked rows int64 (Q, L)        -> rows int64 (Q, k) of the matrix (N, 2D)
    mixed            encoded pictures, list[bytes]  -> anything; for the soak, whose calls are of several kinds

Whatever a task needs happens inside the timed call: normalisation of pixels, padding, pooling, the unit norm.

To add a contender:

1. Write `contenders/NAME.py` with a subclass of `Contender`. Import the measured library inside the methods only,
   because the bench's own process imports the module whether or not the library is installed.
2. Give it `name`, `description` and `requires`, and a method for each task that it does; return these methods from
   `tasks`. A method takes a `Job` and returns the function that is timed.
3. Override `prepare` where it needs files of its own, such as a converted graph.
4. Add the class to `CONTENDERS` in `contenders/roster.py`. In `pyproject.toml`, add the package to the `bench` extra,
   and the module to mypy's list of modules without types.
5. Run `python -m clipshelf_bench latency --quick --only NAME,clipshelf`, and compare its `cosine` column with the
   others': a contender that is fast and wrong has a mistake.

A class outside this package is measured with `--contender MODULE:CLASS`. `numpy_rank` is the shortest example,
`ort_dynamic` one that prepares files.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from clipshelf_bench.arrays import Array, FloatArray, Pixels
from clipshelf_bench.subjects.subject import Subject

Task: TypeAlias = Literal[
    "image", "text", "pixels", "photos", "sentences", "recommend", "recommend_files", "rank", "profiles", "mixed"
]
Call: TypeAlias = Callable[[Any], Array]
Loaded = TypeVar("Loaded")

TOP_K = 10

# Mean and standard deviation of OpenAI's CLIP, for channels in 0..1: the defaults of transformers' CLIPImageProcessor.
MEAN = np.array([0.48145466, 0.4578275, 0.40821073], np.float32)
STD = np.array([0.26862954, 0.26130258, 0.27577711], np.float32)


@dataclass(frozen=True)
class Job:
    """What a task is opened on. Which of the optional fields are set depends on the task.

    - `threads`: threads that the contender may use.
    - `subject`: the model, for tasks that embed.
    - `matrix`: a .npy file of product rows float32, for `recommend`, `rank` and `profiles`.
    - `products`: a folder for `recommend_files`, which `datasets.reading.read_products` reads.
    """

    threads: int
    subject: Subject | None = None
    matrix: Path | None = None
    products: Path | None = None

    def require_subject(self) -> Subject:
        """The model; ValueError where the task was opened without one."""
        if self.subject is None:
            raise ValueError("expected a subject for this task, found none")
        return self.subject

    def require_checkpoint(self) -> Path:
        """The folder of the model's checkpoint; ValueError or FileNotFoundError where there is none."""
        return self.require_subject().require_checkpoint()

    def require_products(self) -> Path:
        """The folder of products; ValueError where the task was opened without one."""
        if self.products is None:
            raise ValueError("expected a folder of products for this task, found none")
        return self.products

    def load_matrix(self) -> FloatArray:
        """The product rows (N, D) or (N, 2D) float32; ValueError where the task was opened without them."""
        rows: FloatArray = np.load(self._require_matrix())
        return rows

    def count_rows(self) -> int:
        """N, without reading the rows; ValueError where the task was opened without them."""
        return len(np.load(self._require_matrix(), mmap_mode="r"))

    def _require_matrix(self) -> Path:
        if self.matrix is None:
            raise ValueError("expected a matrix for this task, found none")
        return self.matrix


class Contender:
    """One way to do some of the tasks. Subclasses set these attributes:

    - `name`: in tables, results.json and on the command line; unique.
    - `description`: what it is, in a few words, for the table of contenders.
    - `requires`: modules that must be installed; without one of them the contender is skipped, and the report says so.
    - `needs_checkpoint`: whether it starts from a `CLIPModel` checkpoint. False for a contender that only ranks or
      reads pictures, or that runs a clipshelf artifact.
    - `needs_bf16`: whether the processor must compute in bf16.
    - `quick`: whether `--quick` includes it; False for a variant of another contender, or one that is slow to start.
    """

    name: ClassVar[str]
    description: ClassVar[str]
    requires: ClassVar[tuple[str, ...]] = ()
    needs_checkpoint: ClassVar[bool] = True
    needs_bf16: ClassVar[bool] = False
    quick: ClassVar[bool] = True

    def __init__(self) -> None:
        self._loaded: dict[Job, Any] = {}

    def tasks(self) -> Mapping[Task, Callable[[Job], Call]]:
        """The tasks that the contender does, each with the method that opens it.

        Opening is not timed, except in the cold start. The function that it returns is.
        """
        raise NotImplementedError

    def prepare(self, subject: Subject) -> None:
        """Make the files that opening needs, unless they are there. Untimed, in a process of its own.

        - `subject`: the model; `subject.prepared_folder(self.name)` is the place for the files, and
          `subjects.subject.build_once` makes that folder completely or not at all.
        """

    def shipped_folder(self, subject: Subject) -> Path | None:
        """The folder that a deployment ships, whose size the memory part reports.

        Returns the prepared folder unless overridden; None, or a folder that does not exist, leaves the column empty.
        """
        return subject.prepared_folder(self.name)

    def load_once(self, job: Job, load: Callable[[Job], Loaded]) -> Loaded:
        """The result of `load(job)`, kept for the other tasks of the same job: a model with both towers, for example.

        - `job`: what the task is opened on.
        - `load`: called for the first task of a job. All tasks of a contender pass the same function.
        """
        if job not in self._loaded:
            self._loaded[job] = load(job)
        loaded: Loaded = self._loaded[job]
        return loaded

    def missing_modules(self) -> list[str]:
        """Names of `requires` that are not installed."""
        return [name for name in self.requires if not _is_installed(name)]


def _is_installed(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:  # find_spec imports the parent of a submodule
        return False


def normalise_pixels(pixels: Pixels) -> FloatArray:
    """Apply CLIP's mean and standard deviation, as its plain exports expect.

    - `pixels`: (B, S, S, 3) uint8 RGB.

    Returns (B, 3, S, S) float32, contiguous.
    """
    scaled = pixels * (1 / (255 * STD)) - MEAN / STD
    return np.ascontiguousarray(scaled.transpose(0, 3, 1, 2), dtype=np.float32)


def to_unit_norm(rows: npt.NDArray[np.floating]) -> FloatArray:
    """Rows (B, D) divided by their norms, float32."""
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)
