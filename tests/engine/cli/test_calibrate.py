from __future__ import annotations

import json
from pathlib import Path

import pytest
from clipshelf import Catalogue
from clipshelf.cli.main import main


def write_queries(path: Path) -> Path:
    """Forty queries, of which those for a product that the filter leaves were found."""
    records = [
        {"text": "red", "where": f"price={9.5 if i % 2 else 1}", "clicked": "red" if i % 2 else None} for i in range(40)
    ]
    path.write_text("\n".join(map(json.dumps, records)))
    return path


def test_calibrate_keeps_a_curve_and_removes_it(
    catalogue: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    queries = write_queries(tmp_path / "queries.jsonl")
    assert main(["calibrate", str(catalogue), str(queries)]) == 0
    out = capsys.readouterr().out
    assert "40 queries, 20 of them with a clicked product" in out and "AUC of 1.000" in out
    curve = Catalogue.load(catalogue, verify=True).relevance_curve
    assert curve is not None and curve.queries == 40
    assert main(["calibrate", str(catalogue), str(queries), "--json"]) == 0
    fit = json.loads(capsys.readouterr().out)
    assert fit["curve"] == curve.to_dict() and fit["found"] == 20 and fit["error_after"] < 0.1
    assert main(["calibrate", str(catalogue), "--remove"]) == 0
    assert Catalogue.load(catalogue).relevance_curve is None


def test_calibrate_names_queries_that_are_none(
    catalogue: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    queries = write_queries(tmp_path / "queries.jsonl")
    queries.write_text(queries.read_text() + '\n{"text": "red"}\n{"text": \n')
    assert main(["calibrate", str(catalogue), str(queries)]) == 1
    assert "query 40: expected an object with the fields of a query and clicked" in capsys.readouterr().err
    assert main(["calibrate", str(catalogue), str(queries), "--on-error", "skip"]) == 1
    err = capsys.readouterr().err
    assert "left out query 40: " in err and "line 42: expected one JSON object" in err
    assert Catalogue.load(catalogue).relevance_curve is not None


def test_calibrate_needs_queries_or_remove(catalogue: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["calibrate", str(catalogue)])
    assert "expected QUERIES, or --remove" in capsys.readouterr().err


def test_recommend_ends_at_the_least_relevance(catalogue: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["recommend", "--catalogue", str(catalogue), "--text", "green", "--min-relevance"]
    assert main([*command, "1"]) == 0
    assert "no product has the relevance" in capsys.readouterr().out
    assert main([*command, "0"]) == 0
    assert "green <shoe>" in capsys.readouterr().out
