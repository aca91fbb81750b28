"""Store weights of a convolutional tower as int8 where this hardly matters, and as fp16 elsewhere.

They are computed in fp32 either way, so this saves size and no time. The largest weights come first: they save most,
and they are near the output, where later layers do not amplify their errors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from clipshelf_export.checkpoints.towers import ConvNet
from clipshelf_export.graphs.convnet import weights_by_name
from clipshelf_export.graphs.plan import Plan
from clipshelf_export.int8.bisection import last_true
from clipshelf_export.measure.judge import Accepted, Judge

# The share of the allowed centred loss that stored weights may use, since they save no time.
LOSS_SHARE = 1 / 3


def choose_stored_weights(tower: ConvNet, judge: Judge) -> Accepted:
    """Find the plan that stores the most weights as int8 and that the judge accepts.

    Returns the accepted plan, in the end one that stores all weights as fp32. Raises ExportError with the numbers if
    the judge refuses that one too.
    """
    sizes = {name: weight.size for name, weight in weights_by_name(tower).items()}
    names = sorted(sizes, key=lambda name: (-sizes[name], name))
    count = len(names) + 1
    while count:
        count = _most_stored(judge, names, count)
        if accepted := judge.accept(_plan(names, count)):
            return accepted
    accepted = judge.accept(Plan("int8", fp32_stored=True))
    if accepted is None:
        raise judge.failure("all weights in fp32")
    return accepted


def _most_stored(judge: Judge, names: Sequence[str], above: int) -> int:
    """Return the largest number of weights below `above` that passes the choosing samples; 0 is taken to pass."""
    target = replace(judge.target, centred=1 - LOSS_SHARE * (1 - judge.target.centred))

    def passes(count: int) -> bool:
        return judge.passes(_plan(names, count), f"{count} of {len(names)} weights int8", target)

    return last_true(0, above, passes)


def _plan(names: Sequence[str], count: int) -> Plan:
    """Return the plan that stores the first `count` of `names` as int8."""
    return Plan("int8", int8_stored=frozenset(names[:count]))
