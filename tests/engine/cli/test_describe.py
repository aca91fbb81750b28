from __future__ import annotations

import re
from pathlib import Path

import pytest
from clipshelf import Catalogue, Engine
from clipshelf.cli.main import main


@pytest.mark.parametrize("flag", [[], ["--json"]])
def test_info_describes_artifacts_and_catalogues(
    catalogue: Path, tiny_artifact: Path, flag: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["info", str(catalogue), *flag]) == 0
    output = capsys.readouterr().out
    assert re.search(r"products\W+3\b", output) and "fingerprint" in output and str(tiny_artifact) in output
    assert main(["info", str(tiny_artifact), *flag]) == 0
    output = capsys.readouterr().out
    assert "family" in output and "vision.onnx" in output and "fp32" in output


def test_info_says_that_the_model_is_the_embedded_one(
    default_engine: Engine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Catalogue.build(default_engine, [{"text": "red"}]).save(tmp_path / "catalogue")
    assert main(["info", str(tmp_path / "catalogue")]) == 0
    assert re.search(r"^  model +the embedded default$", capsys.readouterr().out, re.MULTILINE)
