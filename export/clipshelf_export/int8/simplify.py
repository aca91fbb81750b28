"""The rung "back": give sites of an accepted plan their cheapest form again, where this hardly changes the fidelity.

Early rungs spend nodes on sites one by one. Once later rungs have treated other sites, some of these nodes hardly
matter.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from clipshelf_export.graphs.plan import Plan
from clipshelf_export.int8.bisection import last_true
from clipshelf_export.int8.ranges import Choice
from clipshelf_export.measure.judge import Accepted, Judge


def take_back(
    judge: Judge, accepted: Accepted, cheapest: Mapping[str, Choice], chosen: Mapping[str, Choice]
) -> Accepted:
    """Give as many sites as possible their cheapest form again.

    The sites whose chosen form gains least come first. The simpler plan may lose hardly more fidelity than the accepted
    one (`Judge.target_near`): the distance to the judge's target is not spent here.

    - `accepted`: the plan to simplify.
    - `cheapest`: the choice of each site on the first rung.
    - `chosen`: the choice of each site in the plan; the same object as in `cheapest` where it never changed.

    Returns the simpler plan if the judge accepts it, else `accepted`.
    """
    plan = accepted.plan
    names = [name for name in plan.sites if name in cheapest and cheapest[name] is not chosen[name]]
    names.sort(key=lambda name: cheapest[name].error - chosen[name].error)
    if not names:
        return accepted
    target = judge.target_near(plan)

    def simpler(count: int) -> Plan:
        return replace(plan, sites={**plan.sites, **{name: cheapest[name].params for name in names[:count]}})

    def passes(count: int) -> bool:
        return judge.passes(simpler(count), f"back: {count} of {len(names)} sites", target)

    count = len(names) if passes(len(names)) else last_true(0, len(names), passes)
    if count and (simpler_accepted := judge.accept(simpler(count))):
        return simpler_accepted
    return accepted
