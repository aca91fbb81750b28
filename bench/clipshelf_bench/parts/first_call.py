"""The first picture and the first text of a process, which `cold_start` and `memory` measure."""

from __future__ import annotations

from dataclasses import replace

from clipshelf_bench.bench import SHORT_TOKENS, Bench
from clipshelf_bench.race.cases import Case, Entry
from clipshelf_bench.race.process import ContenderProcess
from clipshelf_bench.subjects.subject import Subject


def picture_and_text_cases(bench: Bench, subject: Subject, entry: Entry) -> list[Case]:
    """A picture case and a text case that a contender supports.

    Encoded pictures and sentences come before pixels and ids; a side that the contender does not support is missing.
    """
    pictures = (bench.photo_case(1), bench.image_case(subject, 1))
    texts = (bench.sentence_case(1), bench.text_case(subject, SHORT_TOKENS, 1))
    first = (next((case for case in cases if entry.supports(case)), None) for cases in (pictures, texts))
    return [case for case in first if case is not None]


def run_once(process: ContenderProcess, case: Case) -> None:
    """Open the task of a case and call it once, with one item."""
    process.open(case.task)
    process.time_calls(replace(case, batch=1))
