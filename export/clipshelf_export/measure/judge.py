"""Measures plans of a tower against the original, on samples that may choose and on others that only say yes or no.

A plan must reach its target on the choosing samples with a margin before the final ones are asked. These decide nothing
but whether to stop: where they say no, the margin grows and the climb goes on by the choosing samples alone. So what
is reported comes from samples that preferred no plan over another, and each no stands among the rungs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clipshelf.errors import ExportError
from clipshelf.types import FloatArray

from clipshelf_export.checkpoints.towers import Tower
from clipshelf_export.graphs import build
from clipshelf_export.graphs.plan import Plan
from clipshelf_export.measure import fidelity
from clipshelf_export.measure.fidelity import Fidelity

# share of the allowed loss that a plan must leave in hand on the choosing samples, since other samples of the same kind
# may find a little more; where it is too small, the final samples say no
MARGIN = 0.15
# times the loss of a plan that a cheaper one may have in its stead
HARDLY = 1.2
# what two orders of summation in fp32 cost a centred cosine
ROUNDING = 1e-6


def last(low: int, high: int, holds: Callable[[int], bool]) -> int:
    """The last number from `low` on for which `holds`, by bisection; it does for `low` and doesn't for `high`."""
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


@dataclass(frozen=True)
class Target:
    """What int8 must reach, both as means over the measured samples."""

    overlap: float = 0.97
    centred: float = 0.995

    @classmethod
    def with_overlap(cls, overlap: float) -> Target:
        """Another overlap, and a centred cosine that may lose as many times more, or fewer."""
        usual = cls()
        factor = (1 - overlap) / (1 - usual.overlap)
        return cls(overlap, min(1 - factor * (1 - usual.centred), 1 - ROUNDING))

    def reached(self, found: Fidelity, margin: float = 0.0) -> bool:
        """Whether `found` is good enough with `margin` of the allowed loss to spare."""
        left = 1 - margin
        near = found.centred_mean >= 1 - left * (1 - self.centred)
        return near and found.top10_overlap >= 1 - left * (1 - self.overlap)


@dataclass
class Judge:
    """One tower, what it is measured on, and the rungs so far.

    `reference` holds the original's embeddings (n, D), of the samples `choose` first, then of those in `final`.
    """

    name: str
    tower: Tower
    choose: Sequence[Any]
    final: Sequence[Any]
    reference: FloatArray
    work: Path
    threads: int
    target: Target = field(default_factory=Target)
    margin: float = MARGIN
    rungs: list[str] = field(default_factory=list)

    def difference(self, plan: Plan) -> float:
        """The largest difference from the original in any component of any embedding."""
        return fidelity.compare(self.reference, self._embed(plan, [*self.choose, *self.final])).difference

    def choosing(self, plan: Plan, some: slice = slice(None)) -> Fidelity:
        """Fidelity of `plan` on some of the choosing samples."""
        return fidelity.compare(self.reference[: len(self.choose)][some], self._embed(plan, self.choose[some]))

    def measure(self, plan: Plan) -> Fidelity:
        """Fidelity of `plan` on the final samples."""
        return fidelity.compare(self.reference[len(self.choose) :], self._embed(plan, self.final))

    def passes(self, plan: Plan, label: str, bar: Target | None = None) -> bool:
        """Whether `plan` reaches `bar` (default: the target) on the choosing samples, with the margin."""
        found = self.choosing(plan)
        self.rungs.append(f"{label}: {found.brief()}")
        return (bar or self.target).reached(found, self.margin)

    def near(self, plan: Plan) -> Target:
        """What a plan must reach with the margin to lose hardly more than `plan` does, and no more than is allowed."""
        found, left = self.choosing(plan), max(1 - self.margin, ROUNDING)
        overlap, centred = (1 - HARDLY * (1 - value) / left for value in (found.top10_overlap, found.centred_mean))
        return Target(max(overlap, self.target.overlap), max(centred, self.target.centred))

    def accepts(self, plan: Plan) -> Fidelity | None:
        """Fidelity of `plan` on the final samples if it reaches the target; if not, the margin grows."""
        found = self.measure(plan)
        accepted = self.target.reached(found)
        self.rungs.append(f"{'accepted' if accepted else 'not accepted'} on the final samples: {found.brief()}")
        if accepted:
            return found
        self.margin = min(1.0, self.margin + MARGIN)
        return None

    def failure(self, what: str) -> ExportError:
        """The error for a tower that misses the target even with `what`, with the numbers of the last rung."""
        return ExportError(
            f"{self.name} int8: expected top-10 overlap >= {self.target.overlap:g} and centred cosine >= "
            f"{self.target.centred:g}, found {self.rungs[-1].rpartition(': ')[2]} with {what} "
            "(--min-overlap accepts less, --calibration-images and --calibration-texts take data of your own)"
        )

    def _embed(self, plan: Plan, items: Sequence[Any]) -> FloatArray:
        build.write(self.tower, plan, self.work)
        return build.embed(build.open_session(self.work, self.threads), items, f"{self.name}: measuring")
