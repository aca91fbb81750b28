"""Climb from the cheapest int8 to one that is faithful enough, and say which rungs were taken.

Rungs, each measured on samples apart from those that set the ranges:

    static       ranges by least error, with spread and shift where norms and values take them for nothing
    shift        a shift, and a spread, where they need nodes of their own (after activations, after BERT's norms)
    outliers     the largest channels of a site through a small MatMul in floating point
    float        the sites whose return to floating point helps most, by the measured error of the whole tower
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from clipshelf.errors import ExportError
from clipshelf.types import FloatArray
from tqdm import tqdm

from clipshelf_export import fidelity, run
from clipshelf_export.fidelity import Fidelity
from clipshelf_export.plan import Int8, Plan
from clipshelf_export.quantise import Choice, choose
from clipshelf_export.run import Stats
from clipshelf_export.sites import Site, fixed, sites
from clipshelf_export.towers import Transformer

# a rung's extra nodes must take this share of a site's error away to be worth their time
WORTH = 0.3
# share of the allowed loss that a rung leaves in hand, for inputs unlike the samples
MARGIN = 0.3
# samples that sites are ranked on before the worst return to floating point
RANKED = 64


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
        return cls(overlap, 1 - factor * (1 - usual.centred))

    def reached(self, found: Fidelity, margin: float = 0.0) -> bool:
        """Whether `found` is good enough with `margin` of the allowed loss to spare."""
        left = 1 - margin
        near = found.centred_mean >= 1 - left * (1 - self.centred)
        return near and found.top10_overlap >= 1 - left * (1 - self.overlap)


@dataclass(frozen=True)
class Option:
    """A way to treat a site: `moved` spends nodes on spread and shift, `outliers` columns stay in floating point."""

    moved: bool = False
    outliers: int = 0


RUNGS = (
    ("static", (Option(),)),
    ("shift", (Option(moved=True),)),
    ("outliers 8", (Option(outliers=8), Option(moved=True, outliers=8))),
    ("outliers 24", (Option(outliers=24), Option(moved=True, outliers=24))),
)


@dataclass
class Ladder:
    """One tower on its way up: what enters its sites, what it is measured on, and the rungs so far."""

    name: str
    tower: Transformer
    stats: dict[str, Stats]
    items: Sequence[Any]
    reference: FloatArray
    work: Path
    threads: int
    rungs: list[str] = field(default_factory=list)

    def climb(self, target: Target) -> tuple[Plan, Fidelity]:
        """The first plan that reaches `target` with a margin, else the best that reaches it at all.

        Raises ExportError with the numbers if none does.
        """
        chosen: dict[str, Choice] = {}
        for label, options in RUNGS:
            taken = self._improve(chosen, options, label)
            if chosen and not taken:
                continue
            plan = self._plan(chosen)
            found = self._measure(plan, label, sites=taken)
            if target.reached(found, MARGIN):
                return plan, found
        return self._to_float(plan, found, target)

    def _choose(self, site: Site, option: Option) -> Choice:
        moved = site.free or option.moved
        return choose(self.stats[site.name], site.linear, spread=moved, shift=moved, outliers=option.outliers)

    def _improve(self, chosen: dict[str, Choice], options: Sequence[Option], label: str) -> int:
        """Replace the choice of each site by an option whose error is worth its nodes; returns how many changed."""
        changed = 0
        plan: dict[str, Int8] = {name: choice.int8 for name, choice in chosen.items()}
        for site in tqdm(sites(self.tower, plan), desc=f"{self.name}: {label}", leave=False, disable=None):
            old = chosen.get(site.name)
            for option in options:
                new = self._choose(site, option)
                if old is None or new.error < (1 - WORTH) * old.error:
                    old = chosen[site.name] = new
                    plan[site.name] = new.int8
                    changed += 1
        return changed

    def _plan(self, chosen: dict[str, Choice]) -> Plan:
        return Plan("int8", {**fixed(self.tower), **{name: choice.int8 for name, choice in chosen.items()}})

    def _measure(self, plan: Plan, label: str, *, sites: int) -> Fidelity:
        found = self._try(plan)
        self.rungs.append(f"{label} ({sites} sites): {found.brief()}")
        return found

    def _try(self, plan: Plan, part: slice = slice(None)) -> Fidelity:
        run.write(self.tower, plan, self.work)
        session = run.open_session(self.work, self.threads)
        return fidelity.compare(self.reference[part], run.embed(session, self.items[part]))

    def _to_float(self, plan: Plan, found: Fidelity, target: Target) -> tuple[Plan, Fidelity]:
        """Return sites to floating point, the most helpful first, twice as many each time, in the end all of them."""
        if target.reached(found):
            return plan, found
        order = self._most_helpful(plan)
        most, count = len(order), 1
        while True:
            count = min(count, most)
            plan = Plan("int8", {name: int8 for name, int8 in plan.sites.items() if name not in order[:count]})
            found = self._measure(plan, f"float: {', '.join(order[:count])}", sites=count)
            if target.reached(found):
                return plan, found
            if count == most:
                break
            count *= 2
        raise ExportError(
            f"{self.name} int8: expected top-10 overlap >= {target.overlap} and centred cosine >= {target.centred}, "
            f"found {found.top10_overlap:.4f} and {found.centred_mean:.4f} with {count} of {len(order)} sites in float "
            "(--min-overlap accepts less, --calibration-images and --calibration-texts take data of your own)"
        )

    def _most_helpful(self, plan: Plan) -> list[str]:
        """Sites in the order in which the tower loses least without them in int8, on some of the samples.

        Layers are ranked first, then the sites of the best: a try takes a graph of its own.
        """
        layers: dict[str, list[str]] = {}
        for name in plan.sites:
            layers.setdefault(name.rpartition(".")[0], []).append(name)
        ranked = self._ranked(plan, list(layers.values()))
        near = max(2, len(ranked) // 4)
        best = self._ranked(plan, [[name] for layer in ranked[:near] for name in layer])
        return [name for group in best + ranked[near:] for name in group]

    def _ranked(self, plan: Plan, groups: Sequence[list[str]]) -> list[list[str]]:
        """Groups of sites by the tower's loss without them in int8."""
        some = slice(None, None, -(-len(self.items) // RANKED))
        losses = []
        for group in tqdm(groups, desc=f"{self.name}: which sites lose most", leave=False, disable=None):
            others = {name: int8 for name, int8 in plan.sites.items() if name not in group}
            losses.append(1 - self._try(Plan("int8", others), some).centred_mean)
        return [groups[i] for i in np.argsort(losses, kind="stable")]
