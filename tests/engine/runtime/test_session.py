from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from clipshelf import Engine
from clipshelf.errors import ProviderUnavailable
from clipshelf.runtime import session
from support import tiny


def test_a_provider_that_only_registers_is_no_silent_fallback(
    tiny_artifact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: names)
    if "CUDAExecutionProvider" in onnxruntime.capi._pybind_state.get_available_providers():
        pytest.skip("this machine can really run CUDA")
    engine = Engine.load(tiny_artifact, provider="auto")
    with pytest.raises(ProviderUnavailable, match="expected CUDAExecutionProvider"):
        engine.embed_texts(["red"])


@pytest.mark.parametrize("bound", [False, True])
def test_a_provider_with_its_own_device_binds_inputs_and_outputs(
    tiny_artifact: Path, monkeypatch: pytest.MonkeyPatch, bound: bool
) -> None:
    """The CPU stands for the device here, so that the binding really runs."""
    texts, pictures = ["red shoe", "blue", "a warm shirt"], [tiny.picture(colour) for colour in tiny.COLOURS]
    plain = Engine.load(tiny_artifact)
    expected = plain.embed_texts(texts), plain.embed_images(pictures)
    assert session._BOUND_DEVICES == {"CUDAExecutionProvider": ("cuda", 0)}
    monkeypatch.setattr(session, "_BOUND_DEVICES", {"CPUExecutionProvider": ("cpu", 0)} if bound else {})
    calls: list[object] = []
    run = onnxruntime.InferenceSession.run_with_iobinding

    def counted(self: Any, binding: Any) -> None:
        calls.append(binding)
        run(self, binding)

    monkeypatch.setattr(onnxruntime.InferenceSession, "run_with_iobinding", counted)
    engine = Engine.load(tiny_artifact)
    np.testing.assert_array_equal(engine.embed_texts(texts), expected[0])
    np.testing.assert_array_equal(engine.embed_images(pictures), expected[1])
    assert len(calls) == (4 if bound else 0)  # three lengths of text, one batch of pictures
