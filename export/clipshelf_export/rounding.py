"""Small weights for convolutional towers: int8 on disk where it does no harm, fp16 elsewhere; computed in fp32.

The largest weights are rounded first: they save most, and lie towards the output, where errors are not amplified.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from clipshelf.types import FloatArray

from clipshelf_export import fidelity, run
from clipshelf_export.convnet import weights
from clipshelf_export.fidelity import Fidelity
from clipshelf_export.ladder import Target
from clipshelf_export.plan import Plan
from clipshelf_export.towers import ConvNet

# of the centred loss that int8 may have, these weights may have a third: they save size only, not time
_SHARE = 1 / 3


@dataclass
class Rounding:
    """One tower, what it is measured on, and what was tried."""

    name: str
    tower: ConvNet
    items: Sequence[Any]
    reference: FloatArray
    work: Path
    threads: int
    rungs: list[str] = field(default_factory=list)

    def find(self, target: Target) -> tuple[Plan, Fidelity]:
        """The plan with the most int8 weights that reaches `target`, with _SHARE of its centred loss, by bisection."""
        bar = replace(target, centred=1 - _SHARE * (1 - target.centred))
        found_weights = weights(self.tower)
        names = sorted(found_weights, key=lambda name: (-found_weights[name].size, name))
        low, high = 0, len(names) + 1
        best, found = self._try(names, 0)
        while high - low > 1:
            middle = (low + high) // 2
            plan, now = self._try(names, middle)
            if bar.reached(now):
                low, best, found = middle, plan, now
            else:
                high = middle
        return best, found

    def _try(self, names: Sequence[str], count: int) -> tuple[Plan, Fidelity]:
        plan = Plan("int8", rounded=frozenset(names[:count]))
        run.write(self.tower, plan, self.work)
        session = run.open_session(self.work, self.threads)
        found = fidelity.compare(self.reference, run.embed(session, self.items, f"{self.name}: {count} int8 weights"))
        self.rungs.append(f"{count} of {len(names)} weights int8: {found.brief()}")
        return plan, found
