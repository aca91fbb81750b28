"""Int8 graphs on onnxruntime alone and on the native kernels, for each form that a family has."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="export needs clipshelf[export]")
pytest.importorskip("transformers", reason="export needs clipshelf[export]")

import onnx
from clipshelf import Engine
from clipshelf.model.artifact import Artifact
from clipshelf.runtime import native
from clipshelf.runtime.native import Kernels
from clipshelf_export import export
from clipshelf_export.checkpoints.towers import Linear
from clipshelf_export.graphs.build import check_fused, check_kernels, write_graph
from clipshelf_export.graphs.builder import Graph
from clipshelf_export.graphs.functions import Style
from clipshelf_export.graphs.kernel_linears import add_int8_operands
from clipshelf_export.graphs.plan import Int8Params, Plan
from clipshelf_export.graphs.transformer import fused_nodes
from clipshelf_export.measure.sessions import open_session
from exact_int8 import run_exactly
from random_towers import FAMILIES, PLANS, make_inputs, make_plan, make_tower
from support.native_library import native_library

# The largest difference of a component between onnxruntime's operators and the kernels: a few inputs that round to the
# neighbouring uint8, since the two sum norms in different orders. Each tower here has two layers and 21 or 42 dims.
PATHS_DIFFER = 0.02
STOCK = """
import sys, numpy, onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
feeds = dict(numpy.load(sys.argv[2]))
numpy.save(sys.argv[3], session.run(None, feeds)[0])
assert not [name for name in sys.modules if name.startswith("clipshelf")]
"""


@pytest.fixture
def kernels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kernels]:
    """The library of this checkout, which everything in this process finds."""
    folder = native_library().parent
    monkeypatch.setattr(native, "_FOLDERS", (folder,))
    monkeypatch.setenv(native.VARIABLE, native.PORTABLE)
    native._load.cache_clear()
    loaded = native.load_kernels()
    assert loaded is not None
    yield loaded
    native._load.cache_clear()


def instruction_sets(kernels: Kernels) -> list[str]:
    return [
        name
        for name in native.instruction_sets(kernels.library)
        if kernels.library.clipshelf_has_instruction_set(name.encode())
    ]


def feeds_of(session: Any, rows: Any, mask: Any = None) -> dict[str, Any]:
    names = [port.name for port in session.get_inputs()]
    feeds = {names[0]: rows}
    if len(names) > 1:
        feeds["attention_mask"] = np.ones_like(rows) if mask is None else mask
    return feeds


@pytest.mark.parametrize("kind", PLANS)
@pytest.mark.parametrize("family", FAMILIES)
def test_onnxruntime_and_the_kernels_compute_the_same(
    family: str, kind: str, kernels: Kernels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tower, path = make_tower(family), tmp_path / "tower.onnx"
    plan = make_plan(tower, kind, tmp_path / "scratch.onnx")
    write_graph(tower, Plan(), tmp_path / "fp32.onnx")
    graph = write_graph(tower, plan, path)
    check_fused(path, tmp_path / "checked.onnx", graph, fused_nodes(tower, plan), precision="int8")
    check_kernels(path, tmp_path / "checked.onnx", graph, kernels)
    (rows,) = make_inputs(tower, 5, 1, seed=7)
    exact, stock = (open_session(tmp_path / f"{name}.onnx", 1) for name in ("fp32", "tower"))
    expected, functions = (session.run(None, feeds_of(session, rows))[0] for session in (exact, stock))
    portable = open_session(path, 2, kernels).run(None, feeds_of(stock, rows))[0]
    assert (portable * expected).sum(1).min() >= (functions * expected).sum(1).min() - 0.005
    assert (functions * expected).sum(1).min() >= 0.98
    assert np.abs(portable - functions).max() <= PATHS_DIFFER
    for name in instruction_sets(kernels):
        monkeypatch.setenv(native.VARIABLE, name)
        for threads in (1, 3):
            session = open_session(path, threads, kernels)
            assert np.array_equal(session.run(None, feeds_of(session, rows))[0], portable), (name, threads)
            alone = [session.run(None, feeds_of(session, rows[i : i + 1]))[0] for i in range(len(rows))]
            assert np.array_equal(np.concatenate(alone), portable), (name, threads)


# How far a component of an embedding may be from the exact one. The kernels give the same bits on every CPU, and round
# no uint8 of these towers to its neighbour. onnxruntime sums in the order that suits a CPU, so it may.
KERNELS_TO_EXACT, STOCK_TO_EXACT = 1e-5, 2e-3


@pytest.mark.parametrize("kind", PLANS)
@pytest.mark.parametrize("family", ["clip vision", "siglip vision", "clip text", "altclip text", "multilingual text"])
def test_both_ways_give_the_exact_int8_result_however_much_int8_loses(
    family: str, kind: str, kernels: Kernels, tmp_path: Path
) -> None:
    """These towers are so sharp that int8 graphs of them have cosines to fp32 down to 0.93, and below 0 where one
    channel is all of an embedding. The roundings that the graph asks for are the cause: alone they give the same."""
    tower, path = make_tower(family, spread=1.5, outlier=20), tmp_path / "tower.onnx"
    write_graph(tower, make_plan(tower, kind, tmp_path / "scratch.onnx"), path)
    (rows,) = make_inputs(tower, 5, 1, seed=7)
    stock = open_session(path, 1)
    feeds = feeds_of(stock, rows)
    exact = run_exactly(path, feeds)
    assert np.abs(stock.run(None, feeds)[0] - exact).max() <= STOCK_TO_EXACT
    assert np.abs(open_session(path, 1, kernels).run(None, feeds)[0] - exact).max() <= KERNELS_TO_EXACT


def test_only_weights_that_do_not_fill_their_panels_are_cut(kernels: Kernels, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for inputs, outputs, cut in ((64, 128, False), (66, 128, True), (64, 100, True)):
        graph, path = Graph(), tmp_path / "linear.onnx"
        x = graph.input("pixels", onnx.TensorProto.UINT8, ["batch", inputs])
        linear = Linear(rng.standard_normal((inputs, outputs)).astype(np.float32), None)
        operands, attributes = add_int8_operands(graph, "site", linear, Int8Params(0.1, 128))
        (y,) = graph.kernel_op("Linear", Style(), {"x": x, **operands}, **attributes)
        graph.write(path, y, outputs)
        assert graph.count_nodes()["Slice"] == cut
        feeds = {"pixels": rng.integers(0, 256, (3, inputs), np.uint8)}
        for session in (open_session(path, 1), open_session(path, 1, kernels)):
            np.testing.assert_allclose(session.run(None, feeds)[0], run_exactly(path, feeds), rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("family", [name for name in FAMILIES if name.endswith("text") and "siglip" not in name])
def test_padding_changes_no_bit(family: str, kernels: Kernels, tmp_path: Path) -> None:
    tower, path = make_tower(family), tmp_path / "tower.onnx"
    write_graph(tower, make_plan(tower, "outliers", tmp_path / "scratch.onnx"), path)
    for session in (open_session(path, 2, kernels), open_session(path, 2)):
        (rows,) = make_inputs(tower, 2, 1, seed=3)
        padded = np.pad(rows, ((0, 0), (0, 4)))
        mask = np.pad(np.ones_like(rows), ((0, 0), (0, 4)))
        expected = session.run(None, feeds_of(session, rows))[0]
        assert np.array_equal(session.run(None, feeds_of(session, padded, mask))[0], expected)


def test_an_onnxruntime_without_clipshelf_runs_the_artifact(
    outlier_artifact: Artifact, kernels: Kernels, tmp_path: Path
) -> None:
    spec = outlier_artifact.manifest.text
    feeds = {
        "vision": {"pixels": np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)},
        "text": {"input_ids": np.array([[spec.bos_id, 5, 6, 7, spec.eos_id]])},
    }
    for tower, inputs in feeds.items():
        np.savez(tmp_path / "feeds.npz", **inputs)  # type: ignore[arg-type]
        graph = outlier_artifact.path / f"{tower}.onnx"
        command = [sys.executable, "-c", STOCK, str(graph), str(tmp_path / "feeds.npz"), str(tmp_path / "out.npy")]
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        subprocess.run(command, check=True, env=environment)
        on_kernels = open_session(graph, 1, kernels).run(None, inputs)[0]
        assert np.abs(np.load(tmp_path / "out.npy") - on_kernels).max() <= PATHS_DIFFER


def test_the_engine_gives_the_same_bytes_on_every_instruction_set(
    outlier_artifact: Artifact, kernels: Kernels, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = ["red leather jacket", "a mug", "", "a striped wooden lamp, size 4", "blue"]
    pictures = [*np.random.default_rng(1).integers(0, 256, (5, 40, 50, 3), np.uint8)]
    answers = []
    for name in instruction_sets(kernels):
        monkeypatch.setenv(native.VARIABLE, name)
        for threads in (1, 2):
            engine = Engine.load(outlier_artifact.path, threads=threads)
            assert engine.kernels == {"vision": name, "text": name}
            assert engine.towers.session("text").kernels == name
            together = engine.embed_texts(texts), engine.embed_images(pictures)
            assert np.array_equal(engine.embed_texts(texts[3:4]), together[0][3:4])
            assert np.array_equal(engine.embed_images(pictures[2:3]), together[1][2:3])
            answers.append(together)
    for answer in answers:
        assert all(np.array_equal(*pair) for pair in zip(answer, answers[0], strict=True))
    monkeypatch.setenv(native.VARIABLE, native.OFF)
    engine = Engine.load(outlier_artifact.path, threads=1)
    assert engine.kernels == {"vision": "onnxruntime", "text": "onnxruntime"}
    assert np.abs(engine.embed_texts(texts) - answers[0][0]).max() <= PATHS_DIFFER


def test_the_parity_gate_measures_both_paths(
    outlier_checkpoint: Path,
    calibration_data: dict[str, Any],
    kernels: Kernels,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    options = {**calibration_data, "min_overlap": 0.95}
    both = export(outlier_checkpoint, tmp_path / "both", **options).manifest
    for tower in ("vision", "text"):
        record = both.parity[tower]["int8"]
        assert record["kernels"]["measured_on"] == native.PORTABLE
        assert record["kernels"]["count"] == record["count"]
        assert record["kernels"]["top10_overlap"] >= 0.95
        assert "; with the kernels top-10 " in record["rungs"][-1]
    monkeypatch.setenv(native.VARIABLE, native.OFF)
    alone = export(outlier_checkpoint, tmp_path / "alone", **options).manifest
    assert alone.parity["text"]["int8"]["kernels"] == {"measured_on": "none, onnxruntime's run (CLIPSHELF_KERNELS=off)"}
    assert alone.fingerprint == both.fingerprint


def test_weights_are_mapped_from_a_file_beside_the_graph(outlier_artifact: Artifact) -> None:
    for tower in ("vision", "text"):
        assert f"{tower}.onnx.data" in outlier_artifact.manifest.files
        model = onnx.load(outlier_artifact.path / f"{tower}.onnx", load_external_data=False)
        for tensor in model.graph.initializer:
            entries = {entry.key: entry.value for entry in tensor.external_data}
            if "weight" in tensor.name and "outlier" not in tensor.name:
                assert entries["location"] == f"{tower}.onnx.data"
                assert int(entries["offset"]) % 4096 == 0
