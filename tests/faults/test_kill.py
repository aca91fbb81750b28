from __future__ import annotations

from collections import Counter
from pathlib import Path

import crash
import pytest
from clipshelf import Engine

pytestmark = pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="the writers are forked")


@pytest.mark.parametrize("operation", crash.OPERATIONS, ids=lambda operation: operation.name)
def test_a_writer_killed_at_a_random_moment_leaves_the_state_before_or_after(
    operation: crash.Operation, engine: Engine, tmp_path: Path
) -> None:
    stage = crash.Stage(operation, engine, tmp_path)
    outcomes = Counter(stage.kill_after(moment) for moment in crash.moments(0, 50, stage.duration))
    assert outcomes.total() == 50 and outcomes["before"]


@pytest.mark.parametrize("operation", crash.OPERATIONS, ids=lambda operation: operation.name)
def test_a_writer_killed_at_any_file_call_leaves_the_state_before_or_after(
    operation: crash.Operation, engine: Engine, tmp_path: Path
) -> None:
    stage = crash.Stage(operation, engine, tmp_path)
    outcomes = [stage.kill_at(call) for call in range(stage.calls)]
    switch = outcomes.index("after")
    assert 10 < switch < len(outcomes)
    assert set(outcomes[:switch]) == {"before"} and set(outcomes[switch:]) == {"after"}
