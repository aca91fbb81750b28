from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from clipshelf import Engine
from clipshelf.errors import InputError, ProviderUnavailable
from clipshelf.runtime import session, stream
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


class Device:
    """The CPU stands for the device, so that buffers and bindings really run; counts what is bound and run."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(session, "BOUND_DEVICES", {"CPUExecutionProvider": stream.Device("cpu", 0)})
        self.threads: set[int] = set()
        self.bindings: list[Any] = []
        self.graphs: list[str | None] = []
        run = onnxruntime.InferenceSession.run_with_iobinding

        def counted(session: Any, binding: Any, options: Any = None) -> None:
            self.threads.add(threading.get_ident())
            self.bindings.append(binding)
            self.graphs.append(None if options is None else options.get_run_config_entry("gpu_graph_id"))
            run(session, binding, options)

        monkeypatch.setattr(onnxruntime.InferenceSession, "run_with_iobinding", counted)


TEXTS = ["red shoe", "blue", "a warm shirt"]  # of three lengths


def test_a_provider_with_its_own_device_gives_the_same_answers(
    tiny_artifact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = [tiny.picture(colour) for colour in tiny.COLOURS]
    plain = Engine.load(tiny_artifact)
    expected = plain.embed_texts(TEXTS), plain.embed_images(pictures)
    assert session.BOUND_DEVICES == {"CUDAExecutionProvider": ("cuda", 0)}
    device = Device(monkeypatch)
    engine = Engine.load(tiny_artifact)
    for _ in range(2):
        np.testing.assert_array_equal(engine.embed_texts(TEXTS), expected[0])
        np.testing.assert_array_equal(engine.embed_images(pictures), expected[1])
    assert len(device.bindings) == 8  # three lengths of text, one batch of pictures, twice
    assert len(set(device.bindings)) == 4  # the second time in the same buffers
    assert set(device.graphs) == {None}
    first = engine.embed_texts(TEXTS)
    engine.embed_texts(["green"])
    np.testing.assert_array_equal(first, expected[0])  # a result is no view of a buffer


def test_small_shapes_are_recorded_and_large_ones_are_not(tiny_artifact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = Engine.load(tiny_artifact)
    size = plain.artifact.manifest.image.size
    pixels = np.random.default_rng(0).integers(0, 256, (9, size, size, 3), np.uint8)
    expected = plain.embed_pixels(pixels)
    monkeypatch.setattr(session, "_open_path", lambda *arguments: (_opened(*arguments), True))
    device = Device(monkeypatch)
    engine = Engine.load(tiny_artifact)
    for count in (1, 8, 9, 1, 9):
        np.testing.assert_array_equal(engine.embed_pixels(pixels[:count]), expected[:count])
    assert device.graphs == ["1", "2", "-1", "1", "-1"]
    assert len(device.threads) == 1  # onnxruntime keeps recorded graphs for each thread


def test_buffers_that_are_not_recorded_are_bounded(tiny_artifact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    size = Engine.load(tiny_artifact).artifact.manifest.image.size
    device = Device(monkeypatch)
    engine = Engine.load(tiny_artifact)
    pixels = np.zeros((stream.OTHER_SHAPES + 1, size, size, 3), np.uint8)
    for count in (*range(1, len(pixels) + 1), 1):
        engine.embed_pixels(pixels[:count])
    assert len(set(device.bindings)) == len(pixels) + 1  # those of one picture were dropped, and made again


def test_streams_run_at_the_same_time(tiny_artifact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    device = Device(monkeypatch)
    counted, both = onnxruntime.InferenceSession.run_with_iobinding, threading.Barrier(2, timeout=30)

    def meet(session: Any, binding: Any, options: Any = None) -> None:
        both.wait()  # breaks where the runs come one after the other
        counted(session, binding, options)

    monkeypatch.setattr(onnxruntime.InferenceSession, "run_with_iobinding", meet)
    engine = Engine.load(tiny_artifact, streams=2)
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(engine.embed_texts, [["red"], ["red"]])
    np.testing.assert_array_equal(first, second)
    assert len(device.threads) == 2


@pytest.mark.parametrize("streams", [0, 17, 1.5, "2"])
def test_a_wrong_number_of_streams_is_refused(tiny_artifact: Path, streams: Any) -> None:
    with pytest.raises(InputError, match="streams: expected 1 to 16, found"):
        Engine.load(tiny_artifact, streams=streams)


def test_a_graph_that_cannot_be_recorded_runs_unrecorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Any] = []

    def open_session(graph: Any, options: Any, *, providers: Any, enable_fallback: int) -> str:
        opened.append(providers)
        if "enable_cuda_graph" in providers[0][1]:
            raise RuntimeError("This session cannot use the graph capture feature as requested by the user")
        return "session"

    monkeypatch.setattr(onnxruntime, "InferenceSession", open_session)
    monkeypatch.setattr(session, "never_destroy_in_child", lambda _: None)
    monkeypatch.setattr(session, "prepare_cuda", lambda: None)
    found = session._open_path(tmp_path, onnxruntime.SessionOptions(), "CUDAExecutionProvider")
    assert found == ("session", False)
    assert [name for [(name, _)] in opened] == ["CUDAExecutionProvider"] * 2
    assert all(options["enable_skip_layer_norm_strict_mode"] == "1" for [(_, options)] in opened)


def _opened(path: Path, options: Any, provider: str) -> Any:
    return session.open_session(str(path), options, provider)
