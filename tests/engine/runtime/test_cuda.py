from __future__ import annotations

import gc
import os
from typing import Any

import numpy as np
import onnxruntime
import pytest
from clipshelf.runtime import cuda


class Runtime:
    """Stands for the CUDA runtime: remembers which memory is locked, and refuses addresses that are locked already."""

    def __init__(self) -> None:
        self.locked: dict[int, int] = {}

    def cudaHostRegister(self, address: int, size: int, flags: int) -> int:  # noqa: N802
        if address in self.locked:
            return 712
        self.locked[address] = size
        return 0

    def cudaHostUnregister(self, address: int) -> int:  # noqa: N802
        del self.locked[address]
        return 0


def test_pinned_memory_is_locked_as_long_as_it_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = Runtime()
    monkeypatch.setattr(cuda, "_cuda_runtime", lambda: runtime)
    array = np.empty((3, 5), np.float32)
    assert cuda.pin(array)
    assert runtime.locked == {array.ctypes.data: 60}
    assert not cuda.pin(array)
    assert not cuda.pin(np.empty(0))
    del array
    gc.collect()
    assert runtime.locked == {}


def test_without_a_cuda_runtime_nothing_is_pinned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxruntime, "cuda_version", "999.0", raising=False)  # of no library
    cuda._cuda_runtime.cache_clear()
    assert not cuda.pin(np.empty(3))
    cuda._cuda_runtime.cache_clear()


@pytest.mark.parametrize(("before", "after"), [(None, "2"), ("1", "1")])
def test_sums_are_float32_unless_the_environment_says_otherwise(
    before: str | None, after: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls: list[Any] = []

    def preload() -> None:
        calls.append(print("Failed to load libcudnn.so.9"))

    monkeypatch.setattr(onnxruntime, "preload_dlls", preload, raising=False)
    monkeypatch.setenv(cuda.GEMM_OPTIONS, before or "")
    if before is None:
        monkeypatch.delenv(cuda.GEMM_OPTIONS)
    cuda.prepare_cuda.cache_clear()
    for _ in range(2):
        cuda.prepare_cuda()
    cuda.prepare_cuda.cache_clear()
    assert os.environ[cuda.GEMM_OPTIONS] == after
    assert len(calls) == 1
    assert capsys.readouterr().out == ""


def test_options_record_runs_only_where_asked() -> None:
    assert "enable_cuda_graph" not in cuda.provider_options(capture=False)
    options = cuda.provider_options(capture=True)
    assert options["enable_cuda_graph"] == "1" and options["use_tf32"] == "0"
