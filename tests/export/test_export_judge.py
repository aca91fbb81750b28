"""Targets and margins."""

from __future__ import annotations

import pytest

pytest.importorskip("onnx", reason="export needs clipshelf[export]")
pytest.importorskip("torch", reason="export needs clipshelf[export]")

from clipshelf_export.graphs.plan import Plan
from clipshelf_export.measure.judge import MARGIN, Target
from scripted_judge import ScriptedJudge, make_fidelity


def test_a_simpler_plan_loses_hardly_more_and_never_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    judge = ScriptedJudge(lambda _: True)

    def required(overlap: float, centred: float) -> tuple[float, float]:
        measured = make_fidelity(overlap=overlap, centred=centred)
        monkeypatch.setattr(judge, "measure_choosing", lambda *_: measured)
        target = judge.target_near(Plan())
        return 1 - (1 - MARGIN) * (1 - target.overlap), 1 - (1 - MARGIN) * (1 - target.centred)

    assert required(0.99, 0.999) == pytest.approx((0.988, 0.9988))
    assert required(0.9749, 0.9989) == pytest.approx((1 - (1 - MARGIN) * 0.03, 0.99868))


def test_a_margin_is_required_on_the_choosing_samples_only() -> None:
    barely = make_fidelity(overlap=0.9701, centred=0.9951)
    assert Target().is_reached(barely)
    assert not Target().is_reached(barely, MARGIN)
