"""fp16 graphs for CUDA: their nodes, and what fp16 loses, measured on the CPU."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="export needs clipshelf[export]")

import checkpoints
from clipshelf.errors import ExportError
from clipshelf_export import export
from clipshelf_export.checkpoints.towers import Transformer
from clipshelf_export.graphs.build import check_cuda_kernels, check_fused, write_graph
from clipshelf_export.graphs.builder import Graph
from clipshelf_export.graphs.fp16_rounding import rounded_fp16
from clipshelf_export.graphs.plan import Plan
from clipshelf_export.graphs.transformer import fused_nodes
from clipshelf_export.measure.sessions import open_session
from onnx import TensorProto
from random_towers import EOS, FAMILIES, TOKENS, make_tower

FP16, FP32_STREAM = Plan("fp16"), Plan("fp16", fp32_stream=True)


def inputs_of(tower: Transformer) -> dict[str, Any]:
    """A batch of three: pictures, or texts that end after 4, 9 and 12 tokens."""
    rng = np.random.default_rng(1)
    if not hasattr(tower.embedding, "tokens"):
        return {"pixels": rng.integers(0, 256, (3, 17, 17, 3), np.uint8)}
    ids = rng.integers(1, EOS, (3, 12))
    for row, length in enumerate((4, 9, 12)):
        ids[row, length - 1 :] = EOS
    feeds = {"input_ids": ids}
    return feeds | ({"attention_mask": np.ones_like(ids)} if tower.takes_mask else {})


def embed(tower: Transformer, plan: Plan, path: Path, *, to_measure: bool = False) -> Any:
    write_graph(tower, plan, path, to_measure=to_measure)
    return open_session(path, 1).run(None, inputs_of(tower))[0]


@pytest.mark.parametrize("family", FAMILIES)
def test_fp16_is_near_fp32_however_it_is_computed(family: str, tmp_path: Path) -> None:
    tower = make_tower(family)
    exact = embed(tower, Plan(), tmp_path / "fp32.onnx")
    for plan in (FP16, FP32_STREAM):
        on_cpu = embed(tower, plan, tmp_path / "fp16.onnx")
        measured = embed(tower, plan, tmp_path / "rounded.onnx", to_measure=True)
        assert 1e-6 < np.abs(measured - exact).max() < 4e-3
        assert np.abs(on_cpu - measured).max() < 4e-3


@pytest.mark.parametrize("family", FAMILIES)
def test_every_node_has_a_kernel_and_none_converts_between_layers(family: str, tmp_path: Path) -> None:
    tower, path = make_tower(family), tmp_path / "text.onnx"
    graph = write_graph(tower, FP16, path)
    check_cuda_kernels(path, graph)
    check_fused(path, tmp_path / "scratch.onnx", graph, fused_nodes(tower, FP16), precision="fp16")
    inside = [node for node in graph.nodes if node.name.startswith("layers.")]
    assert len(inside) <= 13 * len(tower.layers)
    assert not [node.name for node in inside if node.op_type == "Cast"]


@pytest.mark.parametrize("family", ["clip vision", "clip text"])
def test_a_tower_that_ends_in_a_sum_writes_it(family: str, tmp_path: Path) -> None:
    tower = replace(make_tower(family), final_norm=None)
    graph = write_graph(tower, FP16, tmp_path / "text.onnx")
    check_fused(tmp_path / "text.onnx", tmp_path / "scratch.onnx", graph, fused_nodes(tower, FP16), precision="fp16")
    exact = embed(tower, Plan(), tmp_path / "fp32.onnx")
    assert np.abs(embed(tower, FP16, tmp_path / "fp16.onnx") - exact).max() < 4e-3


@pytest.mark.parametrize("family", ["legacy clip text", "clip text"])
def test_a_text_without_an_end_is_pooled_as_by_argmax(family: str, tmp_path: Path) -> None:
    """ArgMax of equal marks is 0, which the operators for CUDA must match."""
    tower = make_tower(family)
    feeds = {"input_ids": np.full((2, TOKENS), 7)}
    outputs = []
    for plan in (Plan(), FP16):
        write_graph(tower, plan, tmp_path / "text.onnx")
        outputs.append(open_session(tmp_path / "text.onnx", 1).run(None, feeds)[0])
    assert np.abs(outputs[0] - outputs[1]).max() < 4e-3


def test_a_stream_that_fp16_cannot_hold_stays_in_fp32(tmp_path: Path, calibration_data: dict[str, Any]) -> None:
    """A constant in all channels, which the norms remove, leaves few bits of fp16 for the rest of the stream."""
    model = checkpoints.write_checkpoint(tmp_path / "checkpoint")
    model.text_model.embeddings.position_embedding.weight.data += 300
    model.save_pretrained(tmp_path / "checkpoint")
    artifact = export(tmp_path / "checkpoint", tmp_path / "out", precisions=("fp16",), **calibration_data)
    streams = {tower: artifact.manifest.parity[tower]["fp16"]["stream"] for tower in ("vision", "text")}
    assert streams == {"vision": "fp16", "text": "fp32"}
    assert artifact.manifest.parity["text"]["fp16"]["top10_overlap"] >= 0.97


def test_a_stream_beyond_fp16_shows_on_the_cpu(tmp_path: Path) -> None:
    tower = make_tower("clip text")
    layer = tower.layers[0]
    large = replace(tower, layers=[replace(layer, fc2=layer.fc2.scaled(np.float32(1e5))), tower.layers[1]])
    assert np.isfinite(embed(large, Plan(), tmp_path / "fp32.onnx")).all()
    assert not np.isfinite(embed(large, FP16, tmp_path / "fp16.onnx", to_measure=True)).all()


def test_a_rounded_graph_rounds_where_the_cpu_provider_does_not(tmp_path: Path) -> None:
    """300 * 300 is beyond fp16, which onnxruntime's CPU provider overlooks."""
    graph = Graph()
    pixels = graph.input("pixels", TensorProto.UINT8, ["batch", 1])
    x = graph.cast(pixels, TensorProto.FLOAT16)
    x = graph.op("Mul", x, graph.const("a", np.float16(300)))
    x = graph.op("Mul", x, graph.const("b", np.float16(1 / 300)))
    output = graph.cast(x, TensorProto.FLOAT)
    results = []
    for written in (graph, rounded_fp16(graph)):
        written.write(tmp_path / "image.onnx", output, 1)
        pixel = np.array([[200], [255]], np.uint8)
        results.append(open_session(tmp_path / "image.onnx", 1).run(None, {"pixels": pixel})[0].ravel())
    np.testing.assert_allclose(results[0], [200, 255], rtol=1e-3)
    step = np.float16(200) * np.float16(300) * np.float32(np.float16(1 / 300))
    assert results[1].tolist() == [np.float32(np.float16(step)), np.inf]


def test_an_operator_without_a_kernel_of_cuda_is_named(tmp_path: Path) -> None:
    graph = Graph()
    graph.op("ArgMax", graph.input("input_ids", TensorProto.INT64, ["batch", "tokens"]))
    with pytest.raises(ExportError, match=r"text.onnx: expected operators with kernels of CUDA, found ArgMax"):
        check_cuda_kernels(tmp_path / "text.onnx", graph)
