"""What all parts of one run share: the subjects, the contenders that can take part, the plan, the inputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from clipshelf_bench.arrays import TokenIds
from clipshelf_bench.contenders.base import Contender
from clipshelf_bench.datasets import inputs
from clipshelf_bench.race.harness import Heat, Lane, Plan, missing_reason
from clipshelf_bench.race.process import prepare
from clipshelf_bench.subjects.checkpoint import vocabulary
from clipshelf_bench.subjects.subject import Subject

PHOTO_EDGE = 1000
_SEED = 11
# Accuracy is measured on this many rows of every heat, and on so many photos, which cost most to decode; the first
# rows of the same file are what is timed.
_ROWS, _ROWS_QUICK = 64, 8
_PHOTOS, _PHOTOS_QUICK = 24, 8
_NOT_QUICK = "not when quick"


@dataclass
class Setup:
    """One run of the bench.

    `folder` keeps inputs and outputs of the run, `tell` reports progress, `calls` is the length of a soak.
    """

    subjects: Sequence[Subject]
    contenders: Sequence[type[Contender]]
    plan: Plan
    folder: Path
    quick: bool
    tell: Callable[[str], None]
    stamps: Path | None = None
    calls: int = 0
    _failed: dict[tuple[str, str], str | None] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """Rows of an input."""
        return _ROWS_QUICK if self.quick else _ROWS

    def able(self, subject: Subject | None, *tasks: str) -> tuple[list[type[Contender]], dict[str, str]]:
        """Contenders that do one of the tasks on the subject, prepared, and the reasons of those that can't."""
        ready, skipped = [], {}
        for contender in self.contenders:
            if not set(tasks) & set(contender().openers()):
                continue
            reason = _NOT_QUICK if self.quick and not contender.quick else missing_reason(contender)
            reason = reason or (self._prepare(contender, subject) if subject else None)
            if reason:
                skipped[contender.name] = reason
            else:
                ready.append(contender)
        return ready, skipped

    def lanes(
        self, *tasks: str, subject: Subject | None = None, matrix: Path | None = None
    ) -> tuple[list[Lane], dict[str, str]]:
        """The lanes of a race, and who stays out of it."""
        ready, skipped = self.able(subject, *tasks)
        return [Lane(contender, subject.record if subject else None, matrix) for contender in ready], skipped

    def _prepare(self, contender: type[Contender], subject: Subject) -> str | None:
        if contender.needs_checkpoint and subject.checkpoint is None:
            return f"needs a CLIPModel checkpoint, which {subject.name} has not"
        key = (contender.name, subject.name)
        if key not in self._failed:
            self.tell(f"{subject.name}: preparing {contender.name}")
            self._failed[key] = prepare(contender, subject.record, self.plan.threads)
        return self._failed[key]

    def image_heat(self, subject: Subject, batch: int) -> Heat:
        """Pixels of pictures, `batch` in a call."""
        path = self.folder / f"pixels-{subject.size}.npy"
        if not path.is_file():
            np.save(path, inputs.pixels(self.rows, subject.size, _SEED))
        return Heat(f"image, batch {batch}", "image", path, batch)

    def text_heat(self, subject: Subject, tokens: int, batch: int) -> Heat:
        """Sentences of `tokens` ids, special ones counted, `batch` in a call."""
        path = self.folder / f"ids-{subject.name}-{tokens}.npy"
        if not path.is_file():
            np.save(path, _ids(subject, self.rows, tokens))
        return Heat(f"text, {tokens} tokens, batch {batch}", "text", path, batch)

    def photo_heat(self, batch: int) -> Heat:
        """JPEG files of 1000 x 1000, `batch` in a call."""
        return Heat(f"JPEG {PHOTO_EDGE}x{PHOTO_EDGE} to embedding, batch {batch}", "photos", self._photos(), batch)

    def decode_heat(self) -> Heat:
        """The same files to the pixels that a vision tower takes."""
        return Heat(f"JPEG {PHOTO_EDGE}x{PHOTO_EDGE} to pixels", "pixels", self._photos(), 1)

    def sentence_heat(self, batch: int) -> Heat:
        """Product descriptions as text, `batch` in a call."""
        return Heat(f"sentence to embedding, batch {batch}", "sentences", self.sentences(), batch)

    def _photos(self) -> Path:
        folder = self.folder / "photos"
        if not folder.is_dir():
            inputs.write_photos(folder, _PHOTOS_QUICK if self.quick else _PHOTOS, PHOTO_EDGE, _SEED)
        return folder

    def sentences(self) -> Path:
        """The file of product descriptions."""
        path = self.folder / "sentences.json"
        if not path.is_file():
            inputs.write_sentences(path, self.rows, _SEED)
        return path

    def matrix(self, count: int, dim: int) -> Path:
        """Unit rows (count, dim) that stand for products."""
        path = self.folder / f"rows-{count}x{dim}.npy"
        if not path.is_file():
            np.save(path, inputs.unit_rows(count, dim, _SEED))
        return path


def _ids(subject: Subject, rows: int, tokens: int) -> TokenIds:
    """Token ids from the subject's vocabulary; for an artifact without a checkpoint, from its tokenizer."""
    if subject.checkpoint is not None:
        return inputs.token_ids(rows, tokens, vocabulary(subject.checkpoint), _SEED)
    if subject.artifact is None:
        raise ValueError(f"{subject.name}: expected a checkpoint or an artifact, found neither")
    return inputs.tokenised(subject.artifact, rows, tokens, _SEED)
