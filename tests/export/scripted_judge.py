"""A judge whose answers a test scripts, so that searches are tested without a graph."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import numpy as np
from clipshelf_export.graphs.plan import Plan
from clipshelf_export.measure.fidelity import Fidelity
from clipshelf_export.measure.judge import Judge

Condition: TypeAlias = Callable[[Plan], bool]

SITES = [f"layers.{index}.out" for index in range(20)]


def make_fidelity(*, overlap: float, centred: float) -> Fidelity:
    """A fidelity with these two means."""
    return Fidelity(9, 1.0, 1.0, centred, 1.0, overlap, 0.0)


GOOD, BAD = make_fidelity(overlap=1.0, centred=1.0), make_fidelity(overlap=0.5, centred=0.9)


class ScriptedJudge(Judge):
    """A judge that finds a plan good where a condition holds, and counts its measurements.

    - `choosing`: the condition on the choosing samples.
    - `final`: the condition on the final samples; by default every plan is good.
    """

    def __init__(self, choosing: Condition, final: Condition = lambda _: True) -> None:
        super().__init__("text", None, [], [], np.zeros((0, 1), np.float32), Path(), 1)  # type: ignore[arg-type]
        self._choosing, self._final = choosing, final
        self.choosing_count = self.final_count = 0

    def measure_choosing(self, plan: Plan, subset: slice = slice(None)) -> Fidelity:
        self.choosing_count += 1
        return GOOD if self._choosing(plan) else BAD

    def measure_final(self, plan: Plan) -> Fidelity:
        self.final_count += 1
        return GOOD if self._final(plan) else BAD
