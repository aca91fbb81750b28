from __future__ import annotations

from pathlib import Path

import pytest
from clipshelf_bench.bench import Bench
from clipshelf_bench.parts.first_call import picture_and_text_cases
from clipshelf_bench.race.cases import Case, Entry
from support import fake_contenders as fakes


def test_files_come_before_arrays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("photo_case", "image_case", "sentence_case", "text_case"):
        task = {"photo_case": "photos", "sentence_case": "sentences"}.get(name, name.removesuffix("_case"))
        monkeypatch.setattr(Bench, name, lambda *_, task=task: Case(task, task, Path(), 1))
    bench, subject = fakes.make_bench(tmp_path), fakes.make_subject(tmp_path)
    tasks = {
        contender: [case.task for case in picture_and_text_cases(bench, subject, Entry(contender))]
        for contender in (fakes.Fast, fakes.Slow, fakes.FromFiles)
    }
    assert tasks == {
        fakes.Fast: ["image"],
        fakes.Slow: ["image", "text"],
        fakes.FromFiles: ["photos", "sentences"],
    }
