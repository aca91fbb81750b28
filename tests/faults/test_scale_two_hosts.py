"""Two network namespaces as two hosts, whose link is cut while they rank, and while they embed.

Each program is a process of its own (`support.two_hosts`), and takes most of a minute: the nodes of Ray start on two
hosts, and one of them is lost.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.two_hosts import end_hosts, names_of_hosts, reason_to_skip

pytest.importorskip("ray", reason="needs Ray: pip install 'clipshelf[scale]'")
REASON = reason_to_skip()
pytestmark = pytest.mark.skipif(REASON is not None, reason=REASON or "")

WITHIN = 400  # seconds


def test_shards_on_two_hosts_answer_as_one_catalogue_does() -> None:
    print(run("rank_on_two_hosts.py"))


def test_hosts_that_embed_make_the_same_bytes_when_their_link_is_cut() -> None:
    print(run("embed_on_two_hosts.py"))


def run(program: str) -> str:
    """Run a program to its end; returns what it printed. Nothing of it is left, whatever happens."""
    command = [sys.executable, str(Path(__file__).with_name(program))]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        output, _ = process.communicate(timeout=WITHIN)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=60)
        pytest.fail(f"expected the end of {program} within {WITHIN} seconds, found: {output}")
    finally:
        process.kill()
        process.wait()
        end_hosts(names_of_hosts(process.pid))
    assert process.returncode == 0, output
    return output
