"""Three parts of the data, and what each may decide."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx", reason="export needs clipshelf[export]")
pytest.importorskip("torch", reason="export needs clipshelf[export]")

from clipshelf.model.artifact import ImageSpec
from clipshelf_export.graphs.plan import Int8, Plan
from clipshelf_export.int8.ladder import Ladder
from clipshelf_export.int8.ranges import Choice
from clipshelf_export.measure import fidelity
from clipshelf_export.measure.fidelity import Fidelity
from clipshelf_export.measure.judge import MARGIN, Judge, Target
from clipshelf_export.measure.samples import image_samples

GOOD, BAD = (Fidelity(9, 1.0, 1.0, centred, 1.0, overlap, 0.0) for centred, overlap in ((1.0, 1.0), (0.9, 0.5)))
SITES = [f"layers.{index}.out" for index in range(20)]
Decision = Callable[[int], bool]


class Scripted(Judge):
    """A judge whose two answers depend on how many sites a plan has in int8, and who counts the questions."""

    def __init__(self, chooses: Decision, agrees: Decision) -> None:
        super().__init__("text", None, [], [], np.zeros((0, 1), np.float32), Path(), 1)  # type: ignore[arg-type]
        self.chooses, self.agrees, self.asked = chooses, agrees, {"choosing": 0, "final": 0}

    def choosing(self, plan: Plan, some: slice = slice(None)) -> Fidelity:
        self.asked["choosing"] += 1
        return GOOD if self.chooses(len(plan.sites)) else BAD

    def measure(self, plan: Plan) -> Fidelity:
        self.asked["final"] += 1
        return GOOD if self.agrees(len(plan.sites)) else BAD


def fewest(judge: Judge, *, whole: bool = False) -> Plan | None:
    plan = Plan("int8", {name: Int8(1.0, 128) for name in SITES})
    found = Ladder(None, {}, judge)._fewest(plan, SITES, whole=whole)  # type: ignore[arg-type]
    return found[0] if found else None


@pytest.mark.parametrize("enough", [1, 2, 3, 7, 16, 19, 20])
def test_no_more_sites_return_to_floating_point_than_must(enough: int) -> None:
    judge = Scripted(lambda int8: int8 <= len(SITES) - enough, lambda _: True)
    plan = fewest(judge)
    assert plan is not None
    assert list(plan.sites) == SITES[enough:]
    assert judge.asked["choosing"] <= 10
    assert judge.asked["final"] == 1


@pytest.mark.parametrize("enough", [0, 1, 9, 19, 20])
def test_as_many_sites_as_will_do_go_back_to_their_cheapest_form(enough: int) -> None:
    def cheap(plan: Plan) -> list[str]:
        return [name for name, int8 in plan.sites.items() if int8.shift is None]

    class Frugal(Scripted):
        def choosing(self, plan: Plan, some: slice = slice(None)) -> Fidelity:
            return GOOD if len(cheap(plan)) <= enough else BAD

    judge = Frugal(lambda _: True, lambda _: True)
    dear = Int8(1.0, 128, shift=np.ones(4, np.float32))
    # the last sites gain most by their shift
    ladder = Ladder(None, {}, judge)  # type: ignore[arg-type]
    ladder.cheapest = {name: Choice(Int8(1.0, 128), 2.0 + place) for place, name in enumerate(SITES)}
    ladder.chosen = {name: Choice(dear, 1.0) for name in SITES}
    plan, found = ladder._back(Plan("int8", {**dict.fromkeys(SITES, dear), "tokens": dear}), BAD)
    assert cheap(plan) == SITES[:enough]
    assert judge.rungs[-1].startswith("accepted") or not enough
    assert found is (GOOD if enough else BAD)
    judge.agrees = lambda _: False
    assert ladder._back(Plan("int8", dict.fromkeys(SITES, dear)), BAD)[1] is BAD


def test_what_is_near_a_plan_loses_hardly_more_and_never_too_much() -> None:
    judge = Scripted(lambda _: True, lambda _: True)

    def bar(overlap: float, centred: float) -> tuple[float, float]:
        judge.choosing = lambda *_: Fidelity(9, 1.0, 1.0, centred, 1.0, overlap, 0.0)  # type: ignore[method-assign]
        target = judge.near(Plan())
        return 1 - (1 - MARGIN) * (1 - target.overlap), 1 - (1 - MARGIN) * (1 - target.centred)

    assert bar(0.99, 0.999) == pytest.approx((0.988, 0.9988))
    assert bar(0.9749, 0.9989) == pytest.approx((1 - (1 - MARGIN) * 0.03, 0.99868))


def test_a_no_of_the_final_samples_sends_the_search_upwards() -> None:
    judge = Scripted(lambda int8: int8 <= 17, lambda int8: int8 <= 12)
    plan = fewest(judge)
    assert plan is not None
    assert len(plan.sites) <= 12
    assert judge.margin == pytest.approx(MARGIN * judge.asked["final"])
    assert sum(rung.startswith("not accepted") for rung in judge.rungs) == judge.asked["final"] - 1
    assert judge.rungs[-1].startswith("accepted")


def test_the_final_samples_are_not_asked_about_what_was_not_chosen() -> None:
    judge = Scripted(lambda _: False, lambda _: True)
    assert fewest(judge, whole=True) is None
    assert judge.asked["final"] == 0


def test_a_margin_is_asked_of_the_choosing_samples_only() -> None:
    bare = Fidelity(9, 1.0, 1.0, 0.9951, 1.0, 0.9701, 0.0)
    assert Target().reached(bare)
    assert not Target().reached(bare, MARGIN)


def test_the_three_parts_are_disjoint_and_alike() -> None:
    samples = image_samples(ImageSpec(16, "squash", 16, "bicubic"), None)
    parts = (samples.calibrate, samples.choose, samples.measure)
    assert [len(part) for part in parts] == [96, 96, 96]
    assert len({item.tobytes() for part in parts for item in part}) == 288
    means = [float(np.mean([item.mean() for item in part])) for part in parts]
    assert max(means) - min(means) < 20
    described = samples.describe()
    assert [described[name] for name in ("calibrated_on", "chosen_on", "measured_on")] == [96, 96, 96]


def test_the_rounding_of_norms_does_not_order_neighbours() -> None:
    rng = np.random.default_rng(0)
    rows: Any = 1 + 1e-4 * rng.normal(size=(60, 32))
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    longer = rows * (1 + 1e-6 * rng.normal(size=(60, 1))).astype(np.float32)
    assert fidelity.compare(rows, longer).top10_overlap >= 0.99
