"""The files of deploy/: their options are those of the command, and the service has no right that it can do without."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from clipshelf.cli.main import main

DEPLOY = Path(__file__).resolve().parents[3] / "deploy"
FILES = ("Containerfile", "compose.yaml", "kubernetes.yaml", "clipshelf.service")


@pytest.mark.parametrize("name", FILES)
def test_every_option_is_one_of_the_command(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["serve", "--help"])
    known = set(re.findall(r"--[a-z][a-z-]+", capsys.readouterr().out))
    lines = [line for line in (DEPLOY / name).read_text().splitlines() if not re.match(r"\s*(#|RUN|&&)", line)]
    used = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", " ".join(line.partition(" #")[0] for line in lines)))
    options_of_build = {"--from", "--interval", "--timeout", "--start-period"} if name == "Containerfile" else set()
    assert "--keys" in used and "--host" in used
    assert used - options_of_build <= known


def test_nothing_runs_as_root() -> None:
    assert re.search(r"^USER 10001:10001$", (DEPLOY / "Containerfile").read_text(), re.MULTILINE)
    assert "runAsNonRoot: true" in (DEPLOY / "kubernetes.yaml").read_text()
    assert "DynamicUser=yes" in (DEPLOY / "clipshelf.service").read_text()


def test_a_drain_has_the_time_that_it_may_take() -> None:
    """Whoever ends the service waits for longer than its delay and its timeout together."""
    pod = (DEPLOY / "kubernetes.yaml").read_text()
    delay, timeout, grace = (
        float(re.search(pattern, pod)[1])  # type: ignore[index]
        for pattern in (r"--drain-delay=(\d+)", r"--drain-timeout=(\d+)", r"terminationGracePeriodSeconds: (\d+)")
    )
    assert delay + timeout + 2 < grace
