from __future__ import annotations

import os
from pathlib import Path

import fakes
import numpy as np
import pytest
from clipshelf_bench.parts.timing import accuracy
from clipshelf_bench.race.harness import Heat, Lane, Plan, Race, answers, missing_reason, race
from clipshelf_bench.race.process import UNSET, child_environment

PLAN = Plan(rounds=4, runs=3, seconds=0, warm=0)


@pytest.fixture(scope="module")
def raced(tmp_path_factory: pytest.TempPathFactory) -> Race:
    # Children import the fakes by name.
    with pytest.MonkeyPatch.context() as patch:
        folder = Path(__file__).parent
        patch.setenv("PYTHONPATH", os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")]))
        return _race(tmp_path_factory.mktemp("race"))


def _race(folder: Path) -> Race:
    pixels = np.random.default_rng(0).integers(0, 256, (24, 4, 4, 3), dtype=np.uint8)
    np.save(folder / "pixels.npy", pixels)
    contenders = (fakes.Fast, fakes.Slow, fakes.Wrong, fakes.Broken, fakes.Dying)
    lanes = [Lane(contender) for contender in contenders]
    heats = [Heat("one", "image", folder / "pixels.npy", 1), Heat("words", "text", folder / "pixels.npy", 2)]
    return race(lanes, heats, PLAN, folder, lambda _: None)


def test_every_contender_has_every_round(raced: Race) -> None:
    assert set(raced.samples["one"]) == {"fast", "slow", "wrong"}
    assert all(
        len(rounds) == PLAN.rounds and all(len(r) == 3 for r in rounds) for rounds in raced.samples["one"].values()
    )


def test_contenders_race_only_where_they_know_the_task(raced: Race) -> None:
    assert set(raced.samples["words"]) == set(raced.outputs["words"]) == {"slow"}


def test_answers_are_saved_once_in_a_run(raced: Race, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = raced.outputs["one"]["fast"].parent
    heats = [Heat("one", "image", folder / "pixels.npy", 1)]
    lanes = [Lane(fakes.Fast), Lane(fakes.Wrong)]
    # No process can start: what is saved is all there is.
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    again = answers(lanes, heats, PLAN, folder, lambda _: None)
    assert again.outputs["one"] == {name: raced.outputs["one"][name] for name in ("fast", "wrong")}


def test_runs_last_at_least_what_the_contender_takes(raced: Race) -> None:
    assert min(map(min, raced.samples["one"]["slow"])) >= 1e3 * fakes.Slow.seconds


def test_failures_are_named_and_the_race_goes_on(raced: Race) -> None:
    assert raced.skipped["broken"] == "RuntimeError: no such processor"
    assert raced.skipped["dying"].startswith("died with 3")


def test_a_fast_wrong_contender_is_visible(raced: Race) -> None:
    outputs = raced.outputs["one"]
    assert accuracy(outputs, "slow", ["fast"])["centred"] == pytest.approx(1)
    wrong = accuracy(outputs, "wrong", ["fast"])
    assert wrong["cosine"] < 0.99
    assert wrong["centred"] < wrong["cosine"]


def test_missing_package_is_the_reason() -> None:
    assert missing_reason(fakes.Absent) == "not installed: a_package_that_nobody_has"
    assert missing_reason(fakes.Fast) is None


def test_missing_parent_package_is_a_reason_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fakes.Absent, "requires", ("a_package_that_nobody_has.part",))
    assert missing_reason(fakes.Absent) == "not installed: a_package_that_nobody_has.part"


def test_children_share_thread_limits_and_lose_what_slows_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(UNSET[0], "Haswell")
    environment = child_environment(3)
    assert UNSET[0] not in environment
    assert environment["OMP_NUM_THREADS"] == environment["OPENBLAS_NUM_THREADS"] == "3"
