from __future__ import annotations

import pytest
from clipshelf.runtime import onnx_graphs


def test_the_graphs_are_valid_onnx() -> None:
    onnx = pytest.importorskip("onnx")
    for graph, operator, shapes in (
        (onnx_graphs.int8_matmul(512, 70000, 64), "MatMulIntegerToFloat", [[], [], [512, 70000], [70000]]),
        (onnx_graphs.float_matmul(256, 1024), "MatMul", [[256, 1024]]),
    ):
        model = onnx.load_from_string(graph)
        assert [node.op_type for node in model.graph.node] == [operator]
        assert [list(tensor.dims) for tensor in model.graph.initializer] == shapes
        assert len(model.SerializeToString()) == len(graph)
