"""The ladder of a tower: the rungs from the cheapest int8 to fp32, until the judge accepts one.

    static       smoothing and shift only where they fold into what comes before the site
    shift        smoothing and shift also where they take nodes: after activations, and after BERT's norms
    outliers     the widest input channels of a site in floating point
    float        as few sites as possible in floating point (`float_sites`)
    whole float  the same with weights stored as fp32; the last one is the fp32 graph (`float_sites`)
    back         sites of the accepted plan in their cheapest form again, where this hardly matters (`simplify`)

Each rung is measured on samples that set no ranges; `measure.judge` explains how the judge decides.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tqdm import tqdm

from clipshelf_export.checkpoints.towers import OnnxTower, Transformer
from clipshelf_export.graphs.plan import Plan
from clipshelf_export.int8.calibration import SiteStatistics
from clipshelf_export.int8.float_sites import return_to_float
from clipshelf_export.int8.ranges import Choice, choose_params
from clipshelf_export.int8.simplify import take_back
from clipshelf_export.int8.sites import Site, iterate_sites, uncalibrated_sites
from clipshelf_export.measure.judge import Accepted, Judge

# Extra nodes must remove this share of a site's error to be worth their time.
WORTHWHILE_GAIN = 0.3


@dataclass(frozen=True)
class Option:
    """A way to compute a site.

    - `transform`: smoothing and shift also where they take nodes.
    - `outliers`: the number of input channels in floating point.
    """

    transform: bool = False
    outliers: int = 0


@dataclass(frozen=True)
class Climb:
    """The way up the ladder: the accepted plan, and the choice of each site on the first rung and on the last."""

    accepted: Accepted
    first: Mapping[str, Choice]
    last: Mapping[str, Choice]


@dataclass(frozen=True)
class Rung:
    """A rung of the ladder: its label, and the options that it adds for each site."""

    label: str
    options: tuple[Option, ...]


RUNGS = (
    Rung("static", (Option(),)),
    Rung("shift", (Option(transform=True),)),
    Rung("outliers 8", (Option(outliers=8), Option(transform=True, outliers=8))),
    Rung("outliers 24", (Option(outliers=24), Option(transform=True, outliers=24))),
)


def climb(
    tower: Transformer | OnnxTower, statistics: Mapping[str, SiteStatistics], judge: Judge, *, simplify: bool = True
) -> Accepted:
    """Find the cheapest int8 plan of a tower that the judge accepts.

    - `statistics`: of the inputs of each site, by the site's name.
    - `judge`: of this tower.
    - `simplify`: whether sites get their cheapest form again where that hardly changes the fidelity (the rung "back").

    Returns the accepted plan with its fidelity. Raises ExportError with the numbers if the judge accepts none.
    """
    way = _climb(tower, statistics, judge)
    return take_back(judge, way.accepted, way.first, way.last) if simplify else way.accepted


def _climb(tower: Transformer | OnnxTower, statistics: Mapping[str, SiteStatistics], judge: Judge) -> Climb:
    """Climb all rungs but "back"."""
    choices: dict[str, Choice] = {}
    first: dict[str, Choice] = {}
    plan = Plan("int8", uncalibrated_sites(tower))
    for rung in RUNGS:
        changed = _improve(tower, statistics, choices, rung, judge.name)
        if not changed:
            continue
        first = first or dict(choices)
        plan = Plan("int8", {**plan.sites, **{name: choice.params for name, choice in choices.items()}})
        if judge.passes(plan, f"{rung.label} ({changed} sites)") and (accepted := judge.accept(plan)):
            return Climb(accepted, first, choices)
    if not choices and judge.passes(plan, "weights stored as fp16") and (accepted := judge.accept(plan)):
        return Climb(accepted, first, choices)
    return Climb(return_to_float(judge, plan), first, choices)


def _improve(
    tower: Transformer | OnnxTower,
    statistics: Mapping[str, SiteStatistics],
    choices: dict[str, Choice],
    rung: Rung,
    tower_name: str,
) -> int:
    """Replace the choice of each site by an option of the rung whose gain is worthwhile; return how many changed."""
    changed = 0
    params = {name: choice.params for name, choice in choices.items()}
    label = f"{tower_name}: {rung.label}"
    for site in tqdm(iterate_sites(tower, params), desc=label, leave=False, disable=None):
        for option in rung.options:
            old, new = choices.get(site.name), _choose(statistics[site.name], site, option)
            if old is None or new.error < (1 - WORTHWHILE_GAIN) * old.error:
                choices[site.name], params[site.name] = new, new.params
                changed += 1
    return changed


def _choose(statistics: SiteStatistics, site: Site, option: Option) -> Choice:
    transform = site.foldable or option.transform
    return choose_params(statistics, site.linear, transform=transform, outliers=option.outliers)
