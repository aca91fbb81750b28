"""The inputs and outputs of ready ONNX towers: which is which, by their types, shapes and names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from clipshelf.errors import ExportError
from onnx import TensorProto

from clipshelf_export.checkpoints.image_rules import ImageRule
from clipshelf_export.checkpoints.onnx_graph import PREFIX, OnnxGraph, Port, read_onnx
from clipshelf_export.checkpoints.tokenizer_files import TokenizerFile
from clipshelf_export.checkpoints.towers import OnnxTower, Padding, PixelInput, TokenInput

# What exporters call the features, the best first.
OUTPUTS = ("image_embeds", "text_embeds", "image_embedding", "text_embedding", "embedding", "embeds", "pooler_output")
IDS, MASK, TYPES = ("input_ids", "text", "ids", "tokens"), ("attention_mask",), ("token_type_ids",)


def vision_tower(path: Path, rule: ImageRule) -> OnnxTower:
    """Read a vision graph.

    - `rule`: whose mean and standard deviation are applied to pixels, unless the graph takes uint8 itself.

    Raises ExportError where the graph takes no pictures of the rule's size.
    """
    graph, size = read_onnx(path), rule.spec.size
    port = _only_input(graph, path)
    squares = {int(TensorProto.FLOAT): (3, size, size), int(TensorProto.UINT8): (size, size, 3)}
    axes = zip(port.shape[1:], squares.get(port.dtype, ()), strict=False)
    if port.dtype not in squares or len(port.shape) != 4 or any(found not in (None, edge) for found, edge in axes):
        raise ExportError(
            f"{path}: expected an input float32 (B, 3, {size}, {size}) or uint8 (B, {size}, {size}, 3), "
            f"found {_describe(port)}"
        )
    plain = port.dtype == TensorProto.FLOAT
    source = PixelInput(PREFIX + port.name, size, rule.mean if plain else None, rule.std if plain else None)
    return _tower(graph, source, path, single=port.shape[0] == 1)


def pixel_input(path: Path) -> int:
    """Return the size of the pictures that a vision graph takes. Raises ExportError where it names none."""
    port = _only_input(read_onnx(path), path)
    size = port.shape[-1] if port.dtype == TensorProto.FLOAT else port.shape[1]
    if len(port.shape) != 4 or size is None:
        raise ExportError(f"{path}: expected config.json or the graph to name the size of pictures, found neither")
    return size


def text_tower(path: Path, tokenizer: TokenizerFile, context: int, *, padded: bool) -> OnnxTower:
    """Read a text graph.

    - `tokenizer`: whose pad token fills up texts.
    - `context`: the longest text.
    - `padded`: whether each text is padded, also where the graph takes any length and has no mask.

    Raises ExportError where the graph takes something else than token ids, a mask and token types.
    """
    graph = read_onnx(path)
    ports = {port.name: port for port in graph.inputs}
    ids, mask, types = (_named(graph.inputs, names) for names in (IDS, MASK, TYPES))
    known = {port.name for port in (ids, mask, types) if port is not None}
    if ids is None or ports.keys() - known or ids.dtype not in (TensorProto.INT64, TensorProto.INT32):
        found = ", ".join(map(_describe, graph.inputs))
        raise ExportError(f"{path}: expected input_ids and perhaps an attention_mask, found {found}")
    length = ids.shape[1] if len(ids.shape) == 2 else None
    if length is None and padded and mask is None:
        length = context
    pad_id = tokenizer.eos_id if tokenizer.pad_id is None else tokenizer.pad_id
    padding = None if length is None else Padding(length, int(pad_id or 0))
    source = TokenInput(
        PREFIX + ids.name,
        None if mask is None else PREFIX + mask.name,
        None if types is None else PREFIX + types.name,
        int32=ids.dtype == TensorProto.INT32,
        padding=padding,
    )
    return _tower(graph, source, path, single=bool(ids.shape) and ids.shape[0] == 1)


def _tower(graph: OnnxGraph, source: PixelInput | TokenInput, path: Path, *, single: bool) -> OnnxTower:
    output = _features(graph.outputs, path)
    dim = output.shape[-1]
    if dim is None:
        raise ExportError(f"{path}: expected an output of a fixed dimension, found {_describe(output)}")
    return OnnxTower(graph.nodes, graph.constants, graph.opset, source, PREFIX + output.name, dim, single)


def _features(outputs: Sequence[Port], path: Path) -> Port:
    """Return the output with the features: the one with a known name, or the only one of two axes."""
    flat = [port for port in outputs if len(port.shape) == 2 and port.dtype == TensorProto.FLOAT]
    named = _named(flat, OUTPUTS)
    if named is None and len(flat) != 1:
        found = ", ".join(map(_describe, outputs))
        raise ExportError(f"{path}: expected one output float32 (B, D), found {found}")
    return named or flat[0]


def _named(ports: Sequence[Port], names: Sequence[str]) -> Port | None:
    by_name = {port.name: port for port in ports}
    return next((by_name[name] for name in names if name in by_name), None)


def _only_input(graph: OnnxGraph, path: Path) -> Port:
    if len(graph.inputs) != 1:
        found = ", ".join(map(_describe, graph.inputs))
        raise ExportError(f"{path}: expected one input, the pictures, found {found}")
    return graph.inputs[0]


def _describe(port: Port) -> str:
    shape = ", ".join("any" if size is None else str(size) for size in port.shape)
    return f"{port.name} {TensorProto.DataType.Name(port.dtype)} ({shape})"
