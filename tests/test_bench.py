from __future__ import annotations

import json

import pytest
from clipshelf import Engine
from clipshelf.bench import measure
from clipshelf.cli import main

STAGES = ["decode", "preprocess", "vision", "tokenise", "text", "fuse", "rank", "total"]


def test_every_stage_is_timed(engine: Engine) -> None:
    report = measure(engine, products=50, runs=4)
    assert [stage.name for stage in report.stages] == STAGES
    assert all(0 < stage.p50 <= stage.p95 <= stage.p99 for stage in report.stages)
    assert report.device["products"] == 50


def test_table_fits_a_screen(engine: Engine) -> None:
    lines = str(measure(engine, products=50, runs=2)).splitlines()
    assert len(lines) == 3 + len(STAGES)
    assert max(map(len, lines)) <= 100


def test_json(engine: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    artifact = str(engine.artifact.path)
    assert main(["bench", "--artifact", artifact, "--products", "20", "--runs", "2", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found["stages"]) == STAGES
    assert set(found["stages"]["total"]) == {"p50", "p95", "p99"}
