"""Climb from the cheapest int8 to one that is faithful enough, and say which rungs were taken.

Rungs, each measured on samples apart from those that set the ranges (`judge` says how they choose):

    static       ranges by least error, with spread and shift where norms and values take them for nothing
    shift        a shift, and a spread, where they need nodes of their own (after activations, after BERT's norms)
    outliers     the largest channels of a site through a small MatMul in floating point
    float        the fewest sites in floating point that do, those first whose return helps the whole tower most
    whole float  the same with fp32 weights, where fp16 is too coarse: in the end the fp32 graph
    back         what the first rungs spent nodes on, and hardly matters since others were taken
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from tqdm import tqdm

from clipshelf_export.checkpoints.towers import Transformer
from clipshelf_export.graphs.build import Stats
from clipshelf_export.graphs.plan import Int8, Plan
from clipshelf_export.int8.ranges import Choice, choose
from clipshelf_export.int8.sites import Site, fixed, sites
from clipshelf_export.measure.fidelity import Fidelity
from clipshelf_export.measure.judge import Judge, last

# a rung's extra nodes must take this share of a site's error away to be worth their time
WORTH = 0.3
# samples that sites are ranked on before the worst return to floating point
RANKED = 64
# names of sites that a rung spells out
NAMED = 4


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
    """One tower on its way up: what enters its sites, and the judge of every rung."""

    tower: Transformer
    stats: dict[str, Stats]
    judge: Judge
    cheapest: dict[str, Choice] = field(default_factory=dict)
    chosen: dict[str, Choice] = field(default_factory=dict)

    def climb(self) -> tuple[Plan, Fidelity]:
        """The first plan that the judge accepts, without the nodes that hardly matter.

        Raises ExportError with the numbers if the judge accepts none.
        """
        return self._back(*self._up())

    def _up(self) -> tuple[Plan, Fidelity]:
        """The first plan that the judge accepts."""
        chosen = self.chosen
        plan = Plan("int8", fixed(self.tower))
        for label, options in RUNGS:
            taken = self._improve(chosen, options, label)
            if not taken:
                continue
            self.cheapest = self.cheapest or dict(chosen)
            plan = Plan("int8", {**plan.sites, **{name: choice.int8 for name, choice in chosen.items()}})
            if self.judge.passes(plan, f"{label} ({taken} sites)") and (found := self.judge.accepts(plan)):
                return plan, found
        return self._to_float(plan)

    def _back(self, plan: Plan, found: Fidelity) -> tuple[Plan, Fidelity]:
        """An accepted plan with sites in their cheapest form again, those first that gain least.

        As many as cost hardly any fidelity: what is left to the target is not to be spent here.
        """
        dear = [name for name in plan.sites if name in self.cheapest and self.cheapest[name] is not self.chosen[name]]
        dear.sort(key=lambda name: self.cheapest[name].error - self.chosen[name].error)

        def cheaper(number: int) -> Plan:
            return replace(plan, sites={**plan.sites, **{name: self.cheapest[name].int8 for name in dear[:number]}})

        def passes(number: int) -> bool:
            return self.judge.passes(cheaper(number), f"back: {number} of {len(dear)} sites", bar)

        if not dear:
            return plan, found
        bar = self.judge.near(plan)
        number = len(dear) if passes(len(dear)) else last(0, len(dear), passes)
        if number and (accepted := self.judge.accepts(cheaper(number))):
            return cheaper(number), accepted
        return plan, found

    def _choose(self, site: Site, option: Option) -> Choice:
        moved = site.free or option.moved
        return choose(self.stats[site.name], site.linear, spread=moved, shift=moved, outliers=option.outliers)

    def _improve(self, chosen: dict[str, Choice], options: Sequence[Option], label: str) -> int:
        """Replace the choice of each site by an option whose error is worth its nodes; returns how many changed."""
        changed = 0
        plan: dict[str, Int8] = {name: choice.int8 for name, choice in chosen.items()}
        for site in tqdm(sites(self.tower, plan), desc=f"{self.judge.name}: {label}", leave=False, disable=None):
            old = chosen.get(site.name)
            for option in options:
                new = self._choose(site, option)
                if old is None or new.error < (1 - WORTH) * old.error:
                    old = chosen[site.name] = new
                    plan[site.name] = new.int8
                    changed += 1
        return changed

    def _to_float(self, plan: Plan) -> tuple[Plan, Fidelity]:
        """Return as few sites to floating point as the judge lets, in the end the whole tower to fp32."""
        order = self._most_helpful(plan)
        for whole in (False, True):
            if best := self._fewest(plan, order, whole=whole):
                return best
        plan = Plan("int8", whole=True)
        found = self.judge.accepts(plan)
        if found is None:
            raise self.judge.failure("the whole tower in fp32")
        return plan, found

    def _fewest(self, plan: Plan, order: Sequence[str], *, whole: bool) -> tuple[Plan, Fidelity] | None:
        """The accepted plan with the fewest sites in floating point, the first of `order`, by doubling and bisection.

        From a count that the final samples refuse the search goes on upwards.
        """

        def without(count: int) -> Plan:
            return Plan("int8", {n: int8 for n, int8 in plan.sites.items() if n not in order[:count]}, whole=whole)

        def passes(count: int) -> bool:
            more = f" and {count - NAMED} more" if count > NAMED else ""
            label = f"{'whole float' if whole else 'float'}: {', '.join(order[:count][:NAMED])}{more}"
            return self.judge.passes(without(count), f"{label} ({count} of {len(order)} sites)")

        low, high = 0, 1
        while low < len(order):
            high = min(high, len(order))
            if passes(high):
                high = 1 + last(low, high, lambda count: not passes(count))
                if found := self.judge.accepts(without(high)):
                    return without(high), found
            low, high = high, 2 * high
        return None

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
        some = slice(None, None, -(-len(self.judge.choose) // RANKED))
        losses = []
        for group in tqdm(groups, desc=f"{self.judge.name}: which sites lose most", leave=False, disable=None):
            others = {name: int8 for name, int8 in plan.sites.items() if name not in group}
            losses.append(1 - self.judge.choosing(Plan("int8", others), some).centred_mean)
        return [groups[i] for i in np.argsort(losses, kind="stable")]
