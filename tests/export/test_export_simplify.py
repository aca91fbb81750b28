"""Which sites of an accepted plan get their cheapest form again."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("onnx", reason="export needs clipshelf[export]")
pytest.importorskip("torch", reason="export needs clipshelf[export]")

from clipshelf_export.graphs.plan import Int8Params, Plan
from clipshelf_export.int8.ranges import Choice
from clipshelf_export.int8.simplify import take_back
from clipshelf_export.measure.judge import Accepted
from scripted_judge import BAD, GOOD, SITES, ScriptedJudge

SHIFTED = Int8Params(1.0, 128, shift=np.ones(4, np.float32))
# the last sites gain most by their shift
CHEAPEST = {name: Choice(Int8Params(1.0, 128), 2.0 + index) for index, name in enumerate(SITES)}
CHOSEN = {name: Choice(SHIFTED, 1.0) for name in SITES}


def cheap_sites(plan: Plan) -> list[str]:
    return [name for name, params in plan.sites.items() if params.shift is None]


@pytest.mark.parametrize("enough", [0, 1, 9, 19, 20])
def test_as_many_sites_as_will_do_go_back_to_their_cheapest_form(enough: int) -> None:
    judge = ScriptedJudge(lambda plan: len(cheap_sites(plan)) <= enough)
    accepted = Accepted(Plan("int8", {**dict.fromkeys(SITES, SHIFTED), "tokens": SHIFTED}), BAD)
    simpler = take_back(judge, accepted, CHEAPEST, CHOSEN)
    assert cheap_sites(simpler.plan) == SITES[:enough]
    assert judge.rungs[-1].startswith("accepted") or not enough
    assert simpler.fidelity is (GOOD if enough else BAD)


@pytest.mark.parametrize("enough", [0, 1, 9, 19, 20])
def test_a_refused_simpler_plan_leaves_the_accepted_one(enough: int) -> None:
    judge = ScriptedJudge(lambda plan: len(cheap_sites(plan)) <= enough, lambda _: False)
    accepted = Accepted(Plan("int8", dict.fromkeys(SITES, SHIFTED)), BAD)
    assert take_back(judge, accepted, CHEAPEST, CHOSEN) is accepted
