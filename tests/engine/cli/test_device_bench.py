from __future__ import annotations

import json

import pytest
from clipshelf import Engine
from clipshelf.cli.device_bench import OVERLAPPING, measure
from clipshelf.cli.main import main

ADDING = ["ready", "vision", "fuse", "rank", "answer"]
STAGES = [*OVERLAPPING, *ADDING, "total"]


def test_every_stage_is_timed(engine: Engine) -> None:
    report = measure(engine, products=50, runs=4)
    assert [stage.name for stage in report.stages] == STAGES
    assert all(0 < stage.p50 <= stage.p95 <= stage.p99 for stage in report.stages)
    assert report.device["products"] == 50


def test_stages_add_up_to_the_whole_query(engine: Engine) -> None:
    took = {stage.name: stage.p50 for stage in measure(engine, products=50, runs=1).stages}
    assert sum(took[name] for name in ADDING) == pytest.approx(took["total"], abs=1e-3)
    # what overlaps lies in ready, each of the two threads by itself
    assert max(took["decode"] + took["preprocess"], took["tokenise"] + took["text"]) < took["ready"]


def test_table_fits_a_screen(engine: Engine) -> None:
    lines = str(measure(engine, products=50, runs=2)).splitlines()
    assert len(lines) == 4 + len(STAGES)
    assert max(map(len, lines)) <= 100


def test_json(engine: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    artifact = str(engine.artifact.path)
    assert main(["bench", "--artifact", artifact, "--products", "20", "--runs", "2", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found["stages"]) == STAGES
    assert found["overlapping"] == list(OVERLAPPING)
    assert set(found["stages"]["total"]) == {"p50", "p95", "p99"}
