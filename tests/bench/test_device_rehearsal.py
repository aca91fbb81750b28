"""A GPU is at hand for minutes only: every section of its script runs here in a rehearsal, on a tiny model."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="export needs clipshelf[export]")
pytest.importorskip("transformers", reason="export needs clipshelf[export]")

BENCH = Path(__file__).resolve().parents[2] / "bench"


def test_every_section_of_the_device_script_runs(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "device", "--rehearse", "--out", str(tmp_path / "results.md")]
    done = subprocess.run(command, cwd=BENCH, capture_output=True, text=True, check=False)
    results = (tmp_path / "results.md").read_text()
    assert done.returncode == 0, results + done.stderr
    assert "Rehearsal on a CPU: no result" in results
    sections = ("Machine", "Export", "Numerics", "Embedding", "Two callers", "Ranking 20,000 rows", "A larger model")
    assert [name for name in sections if f"\n## {name}\n" not in results] == []
    assert "torch.compile" in results and "Answered by the device alone" in results


def test_what_fails_or_comes_too_late_is_written_down(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "device", "--rehearse", "--out", str(tmp_path / "results.md"), "--budget", "0"]
    done = subprocess.run(command, cwd=BENCH, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Not run: 0 s of 0 s were over." in (tmp_path / "results.md").read_text()
