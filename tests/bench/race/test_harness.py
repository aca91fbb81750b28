from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from clipshelf_bench.parts.embedding import accuracy_columns
from clipshelf_bench.race.cases import Case, Entry
from clipshelf_bench.race.harness import RaceOptions, RaceResult, race, save_outputs
from support import fake_contenders as fakes

OPTIONS = RaceOptions(rounds=4, runs=3, seconds=0, warm=0)


@pytest.fixture(scope="module")
def raced(tmp_path_factory: pytest.TempPathFactory) -> RaceResult:
    # Children import the fakes by name.
    with pytest.MonkeyPatch.context() as patch:
        tests = Path(fakes.__file__).parent.parent
        patch.setenv("PYTHONPATH", os.pathsep.join([str(tests), os.environ.get("PYTHONPATH", "")]))
        return _race(tmp_path_factory.mktemp("race"))


def _race(folder: Path) -> RaceResult:
    pixels = np.random.default_rng(0).integers(0, 256, (24, 4, 4, 3), dtype=np.uint8)
    np.save(folder / "pixels.npy", pixels)
    contenders = (fakes.Fast, fakes.Slow, fakes.Wrong, fakes.Broken, fakes.Dying)
    entries = [Entry(contender) for contender in contenders]
    cases = [Case("one", "image", folder / "pixels.npy", 1), Case("words", "text", folder / "pixels.npy", 2)]
    return race(entries, cases, OPTIONS, folder, lambda _: None)


def test_every_contender_has_every_round(raced: RaceResult) -> None:
    assert set(raced.samples["one"]) == {"fast", "slow", "wrong"}
    assert all(
        len(rounds) == OPTIONS.rounds and all(len(times) == 3 for times in rounds)
        for rounds in raced.samples["one"].values()
    )


def test_contenders_race_only_in_tasks_that_they_do(raced: RaceResult) -> None:
    assert set(raced.samples["words"]) == set(raced.outputs["words"]) == {"slow"}


def test_outputs_are_saved_once_in_a_run(raced: RaceResult, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = raced.outputs["one"]["fast"].parent
    cases = [Case("one", "image", folder / "pixels.npy", 1)]
    entries = [Entry(fakes.Fast), Entry(fakes.Wrong)]
    # No process can start, so the outputs are those that were saved.
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    again = save_outputs(entries, cases, OPTIONS, folder, lambda _: None)
    assert again.outputs["one"] == {name: raced.outputs["one"][name] for name in ("fast", "wrong")}


def test_calls_last_at_least_what_the_contender_takes(raced: RaceResult) -> None:
    assert min(map(min, raced.samples["one"]["slow"])) >= 1e3 * fakes.Slow.seconds


def test_failures_have_their_reason_and_the_race_goes_on(raced: RaceResult) -> None:
    assert raced.skipped["broken"] == "RuntimeError: no such processor"
    assert raced.skipped["dying"].startswith("died with 3")


def test_a_fast_wrong_contender_is_visible(raced: RaceResult) -> None:
    outputs = raced.outputs["one"]
    assert accuracy_columns(outputs, "slow", ["fast"])["centred"] == pytest.approx(1)
    wrong = accuracy_columns(outputs, "wrong", ["fast"])
    assert wrong["cosine"] < 0.99
    assert wrong["centred"] < wrong["cosine"]
