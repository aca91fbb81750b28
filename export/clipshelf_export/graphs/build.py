"""Write a tower's graph, run it on samples, and look inside it."""

from __future__ import annotations

import errno
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from clipshelf.errors import ExportError
from clipshelf.types import FloatArray, Precision
from tqdm import tqdm

from clipshelf_export.checkpoints.towers import ConvNet, Tower
from clipshelf_export.graphs import convnet, transformer
from clipshelf_export.graphs.builder import Graph
from clipshelf_export.graphs.plan import Plan

# rows of a site's input that are kept to measure its rounding on
ROWS = 512
# the most there may be of kernels that are slower than what they replace; the norm of the pooled token may be fused
UNWANTED = {"SkipLayerNormalization": 1, "DequantizeLinear": 0, "DynamicQuantizeLinear": 0}


def write(tower: Tower, plan: Plan, path: Path, *, taps: bool = False) -> Graph:
    """Build a tower's graph as `plan` says and write it to `path`; with `taps`, inputs of sites are outputs too."""
    with np.errstate(over="ignore"):  # what fp16 cannot hold is found out when the graph is measured
        graph, output = convnet.build(tower, plan) if isinstance(tower, ConvNet) else transformer.build(tower, plan)
    inputs = {value.name for value in graph.inputs}
    extra = [name for name in dict.fromkeys(graph.taps.values()) if name not in inputs] if taps else []
    graph.write(path, output, tower.dim, extra=extra)
    return graph


def open_session(path: Path, threads: int) -> Any:
    """An onnxruntime session on the CPU."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def embed(session: Any, items: Sequence[Any], label: str = "") -> FloatArray:
    """Embeddings (n, D) of pixels or token rows, one at a time: static graphs give the same bits in a batch."""
    output = session.get_outputs()[0].name
    bar = tqdm(items, desc=label, leave=False, disable=None if label else True)
    return np.concatenate([session.run([output], feed(session, item))[0] for item in bar])


def feed(session: Any, item: Any) -> dict[str, Any]:
    """The inputs of a graph for one picture (S, S, 3) or one row of tokens (L,)."""
    inputs = {session.get_inputs()[0].name: item[None]}
    if len(session.get_inputs()) > 1:
        inputs["attention_mask"] = np.ones((1, len(item)), np.int64)
    return inputs


@dataclass(frozen=True)
class Stats:
    """What enters a site: least and largest value per channel (C,) over `count` rows, and some rows (n, C)."""

    low: FloatArray
    high: FloatArray
    rows: FloatArray
    count: int


def collect(tower: Tower, items: Sequence[Any], path: Path, threads: int, label: str) -> dict[str, Stats]:
    """Run the fp32 graph on `items` and gather what enters each site; `path` is a file to work in."""
    graph = write(tower, Plan(), path, taps=True)
    session = open_session(path, threads)
    names = {output.name for output in session.get_outputs()}
    taps = {site: tensor for site, tensor in graph.taps.items() if tensor in names}
    wanted = list(dict.fromkeys(taps.values()))
    found: dict[str, list[Any]] = {tensor: [] for tensor in wanted}
    pick = _row_picker(max(2, -(-ROWS // len(items))))
    for item in tqdm(items, desc=label, leave=False, disable=None):
        for tensor, values in zip(wanted, session.run(wanted, feed(session, item)), strict=True):
            rows = _as_rows(values)
            found[tensor].append((rows.min(0), rows.max(0), pick(rows), len(rows)))
    stats = {}
    for tensor, parts in found.items():
        lows, highs, samples, counts = zip(*parts, strict=True)
        stats[tensor] = Stats(np.min(lows, 0), np.max(highs, 0), np.concatenate(samples), sum(counts))
    return {site: stats[tensor] for site, tensor in taps.items()}


def _as_rows(values: FloatArray) -> FloatArray:
    """(B, L, C) to (B * L, C); a picture's (B, C, H, W) to (B * H * W, C)."""
    if values.ndim == 4:
        values = values.transpose(0, 2, 3, 1)
    rows: FloatArray = values.reshape(-1, values.shape[-1])
    return rows


def _row_picker(count: int) -> Callable[[FloatArray], FloatArray]:
    """Picks `count` rows: the first, the last, the one with the largest value, the others at random."""
    rng = np.random.default_rng(0)

    def pick(rows: FloatArray) -> FloatArray:
        if len(rows) <= count:
            return np.array(rows)
        marked = [0, len(rows) - 1, int(np.abs(rows).max(1).argmax())]
        others = rng.choice(len(rows), max(0, count - len(marked)), replace=False)
        return rows[[*marked, *others]]

    return pick


def check_fused(path: Path, work: Path, graph: Graph, expected: Counter[str], *, precision: Precision) -> None:
    """Let onnxruntime rewrite the graph at `path` and count the kinds of nodes that its speed rests on.

    Raises ExportError naming the kind: a pattern that no longer matches would be a silently slow graph. `work` is a
    file to work in.
    """
    int8, on_cuda = precision == "int8", precision == "fp16"  # the CPU has no fp16 kernels to keep
    rewritten = work.with_name(f"rewritten.{work.name}")
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(rewritten)
    options.log_severity_level = 3
    try:
        ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has no error of its own for a full disk
        if shutil.disk_usage(rewritten.parent).free < path.stat().st_size:
            raise OSError(errno.ENOSPC, f"no room to rewrite {path.name}") from error
        raise
    after = Counter(node.op_type for node in onnx.load(str(rewritten), load_external_data=False).graph.node)
    after["Gelu"] += after["BiasGelu"]  # with the bias of a float linear before it
    written = graph.count()
    kept = expected + _int8_nodes(written) if int8 else expected
    stages = {"written": written} if on_cuda else {"written": written, "rewritten": after}
    for stage, found in stages.items():
        for kind, count in kept.items():
            if found[kind] != count:
                raise ExportError(f"{path.name} as {stage}: expected {count} {kind} nodes, found {found[kind]}")
    for kind, most in UNWANTED.items():
        if after[kind] > most:
            raise ExportError(f"{path.name} as rewritten: expected {most} {kind} nodes at most, found {after[kind]}")


def _int8_nodes(written: Counter[str]) -> Counter[str]:
    return Counter({kind: written[kind] for kind in ("MatMulIntegerToFloat", "QuantizeLinear")})
