"""Write the graph of a tower, and check that onnxruntime keeps the nodes that its speed depends on."""

from __future__ import annotations

import errno
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from clipshelf.errors import ExportError
from clipshelf.runtime.native import Kernels
from clipshelf.types import Precision

from clipshelf_export.checkpoints.towers import ConvNet, OnnxTower, Tower
from clipshelf_export.graphs import convnet, onnx_tower, transformer
from clipshelf_export.graphs.builder import Graph
from clipshelf_export.graphs.fp16_rounding import rounded_fp16
from clipshelf_export.graphs.plan import Plan

# Int8 operators that onnxruntime must neither remove nor replace.
INT8_OPERATORS = ("MatMulIntegerToFloat", "QuantizeLinear")
# Operators of fp16 graphs for whose types the CUDA provider has kernels, read from the binary of onnxruntime-gpu 1.31.
# ArgMax is none of them: it takes no whole numbers.
CUDA_OPERATORS = frozenset(
    [
        "Add",
        "Attention",
        "Cast",
        "Clip",
        "Concat",
        "Conv",
        "Div",
        "Equal",
        "Expand",
        "FastGelu",
        "Flatten",
        "Gather",
        "GatherElements",
        "GatherND",
        "Gelu",
        "GlobalAveragePool",
        "LayerNormalization",
        "LpNormalization",
        "MatMul",
        "Mod",
        "Mul",
        "MultiHeadAttention",
        "Pad",
        "QuickGelu",
        "ReduceMax",
        "ReduceSum",
        "Reshape",
        "Shape",
        "SkipLayerNormalization",
        "Slice",
        "Softmax",
        "Split",
        "Sub",
        "Transpose",
        "Unsqueeze",
    ]
)
# The most nodes of operators that are slower than what they replace. The norm of the pooled token may be fused.
MAX_SLOW_NODES = {"SkipLayerNormalization": 1, "DequantizeLinear": 0, "DynamicQuantizeLinear": 0}


def write_graph(
    tower: Tower, plan: Plan, path: Path, *, with_site_inputs: bool = False, to_measure: bool = False
) -> Graph:
    """Build the graph of a tower and write it.

    - `plan`: its precision and its int8 sites.
    - `path`: the file to write.
    - `with_site_inputs`: whether the tensors that enter the sites become outputs too.
    - `to_measure`: whether a graph in fp16 is written as `graphs.fp16_rounding` says.

    Returns the graph.
    """
    with np.errstate(over="ignore"):  # weights beyond the range of fp16 show up when the graph is measured
        graph, output = _build(tower, plan, with_site_inputs)
    if to_measure and plan.precision == "fp16":
        graph = rounded_fp16(graph)
    graph_inputs = {value.name for value in graph.inputs}
    site_inputs = [name for name in dict.fromkeys(graph.site_inputs.values()) if name not in graph_inputs]
    graph.write(path, output, tower.dim, extra_outputs=site_inputs if with_site_inputs else ())
    return graph


def _build(tower: Tower, plan: Plan, with_site_inputs: bool) -> tuple[Graph, str]:
    if isinstance(tower, ConvNet):
        return convnet.build(tower, plan)
    if isinstance(tower, OnnxTower):
        return onnx_tower.build(tower, plan, for_calibration=with_site_inputs)
    return transformer.build(tower, plan)


def check_fused(path: Path, scratch: Path, graph: Graph, expected: Counter[str], *, precision: Precision) -> None:
    """Let onnxruntime optimise a graph, and count the nodes that its speed depends on.

    A fusion that no longer matches would give a graph that is correct and slow.

    - `path`: the graph's file.
    - `scratch`: a path beside which the optimised graph is written.
    - `graph`: the graph as it was built.
    - `expected`: the number of nodes of each operator. The int8 operators of an int8 graph are added to it.
    - `precision`: of the graph; an fp16 graph is not counted as optimised, since the CPU has no kernels for it.

    Raises ExportError naming the operator and both counts.
    """
    built = graph.count_nodes()
    optimised = _optimise(path, scratch.with_name(f"rewritten.{scratch.name}"))
    if precision == "int8":
        expected = expected + Counter({kind: built[kind] for kind in INT8_OPERATORS})
    stages = {"written": built} if precision == "fp16" else {"written": built, "rewritten": optimised}
    for stage, counts in stages.items():
        for kind, count in expected.items():
            if counts[kind] != count:
                raise ExportError(f"{path.name} as {stage}: expected {count} {kind} nodes, found {counts[kind]}")
    for kind, most in MAX_SLOW_NODES.items() if precision != "fp16" else ():
        if optimised[kind] > most:
            raise ExportError(
                f"{path.name} as rewritten: expected {most} {kind} nodes at most, found {optimised[kind]}"
            )


def check_cuda_kernels(path: Path, graph: Graph) -> None:
    """Check that the CUDA provider has a kernel for every node of an fp16 graph.

    Another node would run on the CPU, with its inputs copied there, and no run could be recorded as a CUDA graph.

    Raises ExportError naming the operators.
    """
    if others := graph.count_nodes().keys() - CUDA_OPERATORS:
        raise ExportError(f"{path.name}: expected operators with kernels of CUDA, found {', '.join(sorted(others))}")


def check_kernels(path: Path, scratch: Path, graph: Graph, kernels: Kernels) -> None:
    """Let onnxruntime optimise a graph with the native kernels, and count the nodes that run on them.

    - `path`: the graph's file.
    - `scratch`: a path beside which the optimised graph is written.
    - `graph`: the graph as it was built.
    - `kernels`: the library.

    Raises ExportError naming an operator that onnxruntime replaced by its function, and both counts.
    """
    optimised = _optimise(path, scratch.with_name(f"kernels.{scratch.name}"), kernels)
    for kind, count in graph.count_kernels().items():
        if optimised[kind] != count:
            raise ExportError(f"{path.name} with kernels: expected {count} {kind} nodes, found {optimised[kind]}")


def _optimise(path: Path, optimised_path: Path, kernels: Kernels | None = None) -> Counter[str]:
    """Return the number of nodes of each operator after onnxruntime has optimised the graph at `path` for the CPU."""
    options = ort.SessionOptions()
    if kernels is not None:
        options.register_custom_ops_library(str(kernels.path))
    options.optimized_model_filepath = str(optimised_path)
    options.log_severity_level = 3
    try:
        ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has no error class for a full disk
        if shutil.disk_usage(optimised_path.parent).free < path.stat().st_size:
            raise OSError(errno.ENOSPC, f"no room to rewrite {path.name}") from error
        raise
    nodes = onnx.load(str(optimised_path), load_external_data=False).graph.node
    counts = Counter(node.op_type for node in nodes)
    counts["Gelu"] += counts["BiasGelu"]  # onnxruntime fuses Gelu with the bias of a float linear before it
    return counts
