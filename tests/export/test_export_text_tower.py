"""The check of the tool that exports the embedded model's text tower again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="export needs clipshelf[export]")

from clipshelf.errors import ExportError
from clipshelf.model.artifact import Artifact

MODELS = Path(__file__).resolve().parents[2] / "models"


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(MODELS))
    from recipe import text_tower

    return text_tower


def test_the_embedded_model_has_the_fidelity_that_is_asked(tool: Any) -> None:
    tool.check_fidelity(Artifact.open(MODELS / "default").manifest.parity["text"]["int8"])


def test_a_loss_on_either_path_is_refused(tool: Any) -> None:
    record = Artifact.open(MODELS / "default").manifest.parity["text"]["int8"]
    with pytest.raises(ExportError, match="expected the fidelity with the native kernels"):
        tool.check_fidelity({name: value for name, value in record.items() if name != "kernels"})
    with pytest.raises(ExportError, match=r"top10_overlap with onnxruntime: expected 0\.9686 or more, found 0\.9"):
        tool.check_fidelity({**record, "top10_overlap": 0.9})
    with pytest.raises(ExportError, match=r"cosine_mean with native kernels: expected 0\.9977 or more, found 0\.9"):
        tool.check_fidelity({**record, "kernels": {**record["kernels"], "cosine_mean": 0.9}})
