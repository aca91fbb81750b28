from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import crash
import pytest
from clipshelf import Engine

_MEMORY = Path("/dev/shm")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """In memory where there is such a place: a kill, unlike a power cut, loses nothing that waits for the disk."""
    with tempfile.TemporaryDirectory(dir=_MEMORY if _MEMORY.is_dir() else tmp_path) as name:
        yield Path(name)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the writers are forked")
@pytest.mark.parametrize("operation", crash.OPERATIONS, ids=lambda operation: operation.name)
def test_a_writer_killed_at_a_random_moment_leaves_the_state_before_or_after(
    operation: crash.Operation, tiny_artifact: Path, folder: Path
) -> None:
    # from a process of its own, which forks faster than one that holds torch
    command = [sys.executable, crash.__file__, operation.name, str(tiny_artifact), str(folder), "50"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    outcomes = Counter(done.stdout.split())
    assert outcomes.total() == 50 and outcomes["before"]


@pytest.mark.parametrize("operation", crash.OPERATIONS, ids=lambda operation: operation.name)
def test_a_writer_killed_at_any_file_call_leaves_the_state_before_or_after(
    operation: crash.Operation, engine: Engine, folder: Path
) -> None:
    outcomes = crash.Stage(operation, engine, folder).kill_at_calls()
    switch = outcomes.index("after")
    assert 10 < switch < len(outcomes)
    assert set(outcomes[:switch]) == {"before"} and set(outcomes[switch:]) == {"after"}
