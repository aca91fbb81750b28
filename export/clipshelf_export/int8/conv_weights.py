"""Small weights for convolutional towers: int8 on disk where it does no harm, fp16 elsewhere; computed in fp32.

The largest weights are rounded first: they save most, and lie towards the output, where errors are not amplified.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from clipshelf_export.checkpoints.towers import ConvNet
from clipshelf_export.graphs.convnet import weights
from clipshelf_export.graphs.plan import Plan
from clipshelf_export.measure.fidelity import Fidelity
from clipshelf_export.measure.judge import Judge, last

# of the centred loss that int8 may have, these weights may have a third: they save size only, not time
_SHARE = 1 / 3


@dataclass
class Rounding:
    """One tower and the judge of what is rounded of it."""

    tower: ConvNet
    judge: Judge

    def find(self) -> tuple[Plan, Fidelity]:
        """The plan with the most int8 weights that the judge accepts, in the end one of fp32 weights.

        Raises ExportError with the numbers if it accepts none.
        """
        found_weights = weights(self.tower)
        names = sorted(found_weights, key=lambda name: (-found_weights[name].size, name))
        count = len(names) + 1
        while count:
            count = self._most(names, count)
            plan = Plan("int8", rounded=frozenset(names[:count]))
            if found := self.judge.accepts(plan):
                return plan, found
        plan = Plan("int8", whole=True)
        if found := self.judge.accepts(plan):
            return plan, found
        raise self.judge.failure("all weights in fp32")

    def _most(self, names: list[str], above: int) -> int:
        """The most weights below `above` that pass with _SHARE of the centred loss, by bisection; 0 is not asked."""
        target = self.judge.target
        bar = replace(target, centred=1 - _SHARE * (1 - target.centred))

        def passes(count: int) -> bool:
            plan = Plan("int8", rounded=frozenset(names[:count]))
            return self.judge.passes(plan, f"{count} of {len(names)} weights int8", bar)

        return last(0, above, passes)
