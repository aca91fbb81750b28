from __future__ import annotations

from pathlib import Path

import onnxruntime
import pytest
from clipshelf import Engine
from clipshelf.errors import ProviderUnavailable
from clipshelf.runtime.providers import resolve_precision, resolve_provider


def test_precision_follows_the_provider() -> None:
    cuda, cpu = "CUDAExecutionProvider", "CPUExecutionProvider"
    assert resolve_precision(("int8", "fp16"), cpu) == "int8"
    assert resolve_precision(("int8", "fp16"), cuda) == "fp16"
    assert resolve_precision(("fp16", "fp32"), cpu) == "fp32"
    assert resolve_precision(("fp32",), cuda) == "fp32"
    assert resolve_precision(("int8",), cuda) == "int8"


def test_a_provider_runs_or_raises(tiny_artifact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    assert Engine.load(tiny_artifact).provider == "CPUExecutionProvider"
    assert resolve_provider("auto") == resolve_provider("CPUExecutionProvider") == "CPUExecutionProvider"
    for name in ("cuda", "TensorrtExecutionProvider", "gpu"):
        with pytest.raises(ProviderUnavailable, match=f"provider '{name}': expected one of CPUExecutionProvider"):
            Engine.load(tiny_artifact, provider=name)
