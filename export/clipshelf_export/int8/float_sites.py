"""The rungs "float" and "whole float": return as few sites as possible to floating point."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from tqdm import tqdm

from clipshelf_export.graphs.plan import Plan
from clipshelf_export.int8.bisection import last_true
from clipshelf_export.measure.judge import Accepted, Judge

# Choosing samples on which sites are ranked; a ranking measures a graph per site.
RANKING_SAMPLES = 64
# Sites that the label of a rung names.
NAMED_SITES = 4


def return_to_float(judge: Judge, plan: Plan) -> Accepted:
    """Return the fewest sites of an int8 plan to floating point that the judge requires.

    - `plan`: a plan that the judge refuses.

    Returns an accepted plan, in the end one without int8 and with weights stored as fp32. Raises ExportError with the
    numbers if the judge refuses that one too.
    """
    order = _order_by_loss(judge, plan)
    for fp32_stored in (False, True):
        if accepted := fewest_in_float(judge, plan, order, fp32_stored=fp32_stored):
            return accepted
    accepted = judge.accept(Plan("int8", fp32_stored=True))
    if accepted is None:
        raise judge.failure("the whole tower in fp32")
    return accepted


def fewest_in_float(judge: Judge, plan: Plan, order: Sequence[str], *, fp32_stored: bool) -> Accepted | None:
    """Find the fewest sites whose return to floating point makes a plan acceptable, by doubling and bisection.

    Where the final samples refuse a number of sites, the search goes on with larger numbers.

    - `plan`: the int8 plan.
    - `order`: names of its sites, in the order in which they return.
    - `fp32_stored`: whether weights in floating point are stored as fp32; otherwise as fp16.

    Returns the accepted plan, or None if the judge accepts none.
    """

    def without(count: int) -> Plan:
        in_float = set(order[:count])
        sites = {name: params for name, params in plan.sites.items() if name not in in_float}
        return Plan("int8", sites, fp32_stored=fp32_stored)

    def passes(count: int) -> bool:
        names = ", ".join(order[:count][:NAMED_SITES])
        more = f" and {count - NAMED_SITES} more" if count > NAMED_SITES else ""
        label = f"{'whole float' if fp32_stored else 'float'}: {names}{more} ({count} of {len(order)} sites)"
        return judge.passes(without(count), label)

    low, high = 0, 1
    while low < len(order):
        high = min(high, len(order))
        if passes(high):
            high = 1 + last_true(low, high, lambda count: not passes(count))
            if accepted := judge.accept(without(high)):
                return accepted
        low, high = high, 2 * high
    return None


def _order_by_loss(judge: Judge, plan: Plan) -> list[str]:
    """Return the names of all sites, those first without which the int8 tower loses least.

    Whole layers are ranked first, then the sites of the best quarter of them: each try measures a graph.
    """
    layers: dict[str, list[str]] = {}
    for name in plan.sites:
        layers.setdefault(name.rpartition(".")[0], []).append(name)
    ranked = _rank(judge, plan, list(layers.values()))
    best_layers = max(2, len(ranked) // 4)
    best = _rank(judge, plan, [[name] for layer in ranked[:best_layers] for name in layer])
    return [name for group in best + ranked[best_layers:] for name in group]


def _rank(judge: Judge, plan: Plan, groups: Sequence[list[str]]) -> list[list[str]]:
    """Sort groups of sites by the tower's centred loss with the group in floating point, the least loss first."""
    subset = slice(None, None, -(-len(judge.choosing_samples) // RANKING_SAMPLES))
    losses = []
    for group in tqdm(groups, desc=f"{judge.name}: ranking sites", leave=False, disable=None):
        sites = {name: params for name, params in plan.sites.items() if name not in group}
        losses.append(1 - judge.measure_choosing(Plan("int8", sites), subset).centred_mean)
    return [groups[i] for i in np.argsort(losses, kind="stable")]
