"""How few sites return to floating point."""

from __future__ import annotations

import pytest

pytest.importorskip("onnx", reason="export needs clipshelf[export]")
pytest.importorskip("torch", reason="export needs clipshelf[export]")

from clipshelf_export.graphs.plan import Int8Params, Plan
from clipshelf_export.int8.float_sites import fewest_in_float
from clipshelf_export.measure.judge import MARGIN
from scripted_judge import SITES, ScriptedJudge

ALL_INT8 = Plan("int8", {name: Int8Params(1.0, 128) for name in SITES})


@pytest.mark.parametrize("enough", [1, 2, 3, 7, 16, 19, 20])
def test_no_more_sites_return_to_floating_point_than_must(enough: int) -> None:
    judge = ScriptedJudge(lambda plan: len(plan.sites) <= len(SITES) - enough)
    accepted = fewest_in_float(judge, ALL_INT8, SITES, fp32_stored=False)
    assert accepted is not None
    assert list(accepted.plan.sites) == SITES[enough:]
    assert judge.choosing_count <= 10
    assert judge.final_count == 1


def test_a_refusal_by_the_final_samples_sends_the_search_upwards() -> None:
    judge = ScriptedJudge(lambda plan: len(plan.sites) <= 17, lambda plan: len(plan.sites) <= 12)
    accepted = fewest_in_float(judge, ALL_INT8, SITES, fp32_stored=False)
    assert accepted is not None
    assert len(accepted.plan.sites) <= 12
    assert judge.margin == pytest.approx(MARGIN * judge.final_count)
    assert sum(rung.startswith("not accepted") for rung in judge.rungs) == judge.final_count - 1
    assert judge.rungs[-1].startswith("accepted")


def test_the_final_samples_do_not_measure_what_was_not_chosen() -> None:
    judge = ScriptedJudge(lambda _: False)
    assert fewest_in_float(judge, ALL_INT8, SITES, fp32_stored=True) is None
    assert judge.final_count == 0
