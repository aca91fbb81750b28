"""What a race measures and on what: a case is an input of a task, an entry is a contender and the files it runs on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from clipshelf_bench.contenders.base import Contender, Task
from clipshelf_bench.machine.cpu import has_bf16


@dataclass(frozen=True)
class Case:
    """One input of a task.

    - `name`: in the `case` column of tables; unique within a race.
    - `task`: the task, see `contenders.base`.
    - `input`: a file or folder that `datasets.reading.read_input` reads.
    - `batch`: a timed call takes this number of rows from the start of the input.
    """

    name: str
    task: Task
    input: Path
    batch: int


@dataclass(frozen=True)
class Entry:
    """A contender and the files that its tasks are opened on; see `contenders.base.Job` for which task needs which.

    - `contender`: the class.
    - `subject`: record of the model.
    - `matrix`: .npy file of product rows.
    - `products`: folder of products.
    """

    contender: type[Contender]
    subject: Path | None = None
    matrix: Path | None = None
    products: Path | None = None

    @property
    def name(self) -> str:
        """The contender's name."""
        return self.contender.name

    def supports(self, case: Case) -> bool:
        """Whether the contender does the task of a case."""
        return case.task in self.contender().tasks()

    def output_file(self, case: Case, folder: Path) -> Path:
        """The file in `folder` for what the contender returns on the whole input of a case."""
        subject = self.subject.parent.name if self.subject else "rows"
        return folder / f"{subject}--{case.name.replace(' ', '-')}--{self.name}.npy"


def unavailable_reason(contender: type[Contender]) -> str | None:
    """Why a contender cannot run on this machine; None where it can."""
    missing = contender().missing_modules()
    if missing:
        return f"not installed: {', '.join(missing)}"
    if contender.needs_bf16 and not has_bf16():
        return "this CPU has no bf16 arithmetic"
    return None
