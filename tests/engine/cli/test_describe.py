from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from clipshelf import Catalogue, Engine, __version__
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


def test_info_without_a_folder_describes_the_installation(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CLIPSHELF_KERNELS", "off")
    kernels = "none, onnxruntime's run (CLIPSHELF_KERNELS=off)"
    assert main(["info"]) == 0
    output = capsys.readouterr().out
    assert re.search(rf"^clipshelf +{re.escape(__version__)}$", output, re.MULTILINE)
    assert re.search(rf"^kernels +{re.escape(kernels)}$", output, re.MULTILINE)
    assert main(["info", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["kernels"] == kernels and facts["cpus"] >= 1
