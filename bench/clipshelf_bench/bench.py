"""What all parts of one run share: the subjects, the contenders, how long to measure, and the input files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from clipshelf_bench.arrays import TokenIds
from clipshelf_bench.contenders.base import Contender, Task
from clipshelf_bench.datasets import inputs
from clipshelf_bench.race.cases import Case, Entry, unavailable_reason
from clipshelf_bench.race.harness import RaceOptions
from clipshelf_bench.race.process import prepare_contender
from clipshelf_bench.subjects.checkpoint import vocabulary_size
from clipshelf_bench.subjects.subject import Subject

PHOTO_EDGE = 1000
SHORT_TOKENS = 12
_SEED = 11
# Accuracy is measured on this many rows of every input, timing on the first rows of the same file. Photos are fewer,
# because decoding them takes most of the time.
_ROWS, _ROWS_QUICK = 64, 8
_PHOTOS, _PHOTOS_QUICK = 24, 8
_NOT_QUICK = "not when quick"


@dataclass
class Bench:
    """One run of the bench.

    - `subjects`: the models to measure.
    - `contenders`: the contenders to measure them with.
    - `options`: how long to measure.
    - `folder`: keeps the inputs and outputs of this run.
    - `quick`: whether to measure fewer contenders, sizes and rows.
    - `notify`: called with one line about the next step.
    - `stamps`: the unpacked stamps package; None to download it.
    - `soak_calls`: length of the soak.
    - `soak_minutes`: length of the service's soak.

    The methods `*_case` and `*_file` write an input into `folder` on first use.
    """

    subjects: Sequence[Subject]
    contenders: Sequence[type[Contender]]
    options: RaceOptions
    folder: Path
    quick: bool
    notify: Callable[[str], None]
    stamps: Path | None = None
    soak_calls: int = 0
    soak_minutes: float = 0.0
    _preparation: dict[tuple[str, str], str | None] = field(default_factory=dict)

    @property
    def row_count(self) -> int:
        """Rows of an input."""
        return _ROWS_QUICK if self.quick else _ROWS

    def ready_contenders(self, subject: Subject | None, *tasks: Task) -> tuple[list[type[Contender]], dict[str, str]]:
        """Prepare the contenders that do one of the tasks.

        - `subject`: the model; None for tasks without one.
        - `tasks`: names of tasks.

        Returns the contenders that are ready, and for the others why not, by name.
        """
        ready, skipped = [], {}
        for contender in self.contenders:
            if not set(tasks) & set(contender().tasks()):
                continue
            reason = _NOT_QUICK if self.quick and not contender.quick else unavailable_reason(contender)
            reason = reason or (self._prepare(contender, subject) if subject else None)
            if reason:
                skipped[contender.name] = reason
            else:
                ready.append(contender)
        return ready, skipped

    def entries(
        self, *tasks: Task, subject: Subject | None = None, matrix: Path | None = None
    ) -> tuple[list[Entry], dict[str, str]]:
        """The entries of a race.

        - `tasks`: an entry does at least one of them.
        - `subject`: the model; None for tasks without one.
        - `matrix`: .npy file of product rows, for tasks that need it.

        Returns the entries, and why other contenders are missing, by name.
        """
        ready, skipped = self.ready_contenders(subject, *tasks)
        return [Entry(contender, subject.record if subject else None, matrix) for contender in ready], skipped

    def _prepare(self, contender: type[Contender], subject: Subject) -> str | None:
        """Prepare a contender once; why that failed, None where it did not."""
        if contender.needs_checkpoint and subject.checkpoint is None:
            return f"needs a CLIPModel checkpoint, which {subject.name} has not"
        key = (contender.name, subject.name)
        if key not in self._preparation:
            self.notify(f"{subject.name}: preparing {contender.name}")
            self._preparation[key] = prepare_contender(contender, subject.record, self.options.threads)
        return self._preparation[key]

    def image_case(self, subject: Subject, batch: int) -> Case:
        """Pixels of the size that the subject takes, `batch` pictures in a call."""
        path = self.folder / f"pixels-{subject.size}.npy"
        if not path.is_file():
            np.save(path, inputs.random_pixels(self.row_count, subject.size, _SEED))
        return Case(f"image, batch {batch}", "image", path, batch)

    def text_case(self, subject: Subject, tokens: int, batch: int) -> Case:
        """Sentences of `tokens` ids, the two special ids included, `batch` sentences in a call."""
        path = self.folder / f"ids-{subject.name}-{tokens}.npy"
        if not path.is_file():
            np.save(path, _token_ids(subject, self.row_count, tokens))
        return Case(f"text, {tokens} tokens, batch {batch}", "text", path, batch)

    def photo_case(self, batch: int) -> Case:
        """JPEG files to embeddings, `batch` files in a call."""
        name = f"JPEG {PHOTO_EDGE}x{PHOTO_EDGE} to embedding, batch {batch}"
        return Case(name, "photos", self.photos_folder(), batch)

    def decode_case(self) -> Case:
        """A JPEG file to the pixels that the vision tower takes."""
        return Case(f"JPEG {PHOTO_EDGE}x{PHOTO_EDGE} to pixels", "pixels", self.photos_folder(), 1)

    def sentence_case(self, batch: int) -> Case:
        """Product descriptions to embeddings, `batch` sentences in a call."""
        path = self.folder / "sentences.json"
        if not path.is_file():
            inputs.write_sentences(path, self.row_count, _SEED)
        return Case(f"sentence to embedding, batch {batch}", "sentences", path, batch)

    def photos_folder(self) -> Path:
        """A folder of JPEG files of `PHOTO_EDGE` x `PHOTO_EDGE` pixels."""
        folder = self.folder / "photos"
        if not folder.is_dir():
            inputs.write_photos(folder, _PHOTOS_QUICK if self.quick else _PHOTOS, PHOTO_EDGE, _SEED)
        return folder

    def matrix_file(self, count: int, dim: int) -> Path:
        """A .npy file of unit rows (count, dim) float32, which stand for products."""
        path = self.folder / f"rows-{count}x{dim}.npy"
        if not path.is_file():
            np.save(path, inputs.random_unit_rows(count, dim, _SEED))
        return path


def _token_ids(subject: Subject, rows: int, tokens: int) -> TokenIds:
    """Ids (rows, tokens) from the vocabulary of the checkpoint; without a checkpoint, from the artifact's tokenizer."""
    if subject.checkpoint is not None:
        return inputs.random_token_ids(rows, tokens, vocabulary_size(subject.checkpoint), _SEED)
    if subject.artifact is None:
        raise ValueError(f"{subject.name}: expected a checkpoint or an artifact, found neither")
    return inputs.tokenised_sentences(subject.artifact / "tokenizer.json", rows, tokens, _SEED)
