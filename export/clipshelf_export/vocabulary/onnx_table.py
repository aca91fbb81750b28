"""The table of tokens in a ready ONNX graph with fewer rows.

The network goes on with the old ids, since it may compare them: the end of text, padding, the largest id. Two more
nodes translate: the new ids at the input to the old ones, and the old ones to rows of the shorter table.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from clipshelf.errors import ExportError
from clipshelf.types import TokenIds
from onnx import helper

from clipshelf_export.checkpoints.onnx_graph import PREFIX
from clipshelf_export.checkpoints.towers import OnnxTower, TokenInput
from clipshelf_export.graphs.onnx_linears import captured_names

IDS, KEPT, ROWS = (f"{PREFIX}vocabulary.{name}" for name in ("input_ids", "kept", "rows"))
# Operators that change the shape or the type of ids, and no id.
RESHAPES = frozenset({"Cast", "Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"})


def token_input(tower: OnnxTower) -> TokenInput:
    """Return the input of a text tower. Raises ExportError for one of pictures."""
    if not isinstance(tower.input, TokenInput):
        raise ExportError("vocabulary: expected a text tower, found one that takes pixels")
    return tower.input


def trim_onnx_tower(tower: OnnxTower, kept: TokenIds) -> tuple[OnnxTower, int]:
    """Return a tower that reads the new ids 0 to K - 1 of the old ids `kept` (K,), and the rows that its table had.

    Raises ExportError where the table of tokens is not found.
    """
    source = token_input(tower)
    table = _find_table(tower, source.ids)
    values = tower.constants[table]
    ids_type = np.int32 if source.int32 else np.int64
    rows = np.zeros(len(values), np.int32)
    rows[kept] = np.arange(len(kept))
    constants = {**tower.constants, KEPT: kept.astype(ids_type), ROWS: rows, f"{table}.kept": values[kept]}
    nodes: list[Any] = [helper.make_node("Gather", [KEPT, IDS], [source.ids])]
    nodes += [new for node in tower.nodes for new in _trimmed_nodes(node, tower, table)]
    readers = {name for node in nodes for name in (*node.input, *captured_names(node))}
    if table not in readers:
        del constants[table]
    padding = source.padding
    if padding is not None:
        padding = replace(padding, pad_id=int(np.searchsorted(kept, padding.pad_id)))
    trimmed = replace(tower, nodes=nodes, constants=constants, input=replace(source, ids=IDS, padding=padding))
    return trimmed, len(values)


def _find_table(tower: OnnxTower, ids: str) -> str:
    """Return the name of the constant from which the network takes the rows of its tokens."""
    names, tables = {ids}, set()
    for node in tower.nodes:
        if node.op_type in RESHAPES and node.input[0] in names:
            names.add(node.output[0])
        elif _takes_rows(node, tower) and node.input[1] in names:
            tables.add(str(node.input[0]))
    if len(tables) != 1:
        raise ExportError(f"vocabulary: expected one table of tokens in the text graph, found {len(tables)}")
    return tables.pop()


def _takes_rows(node: Any, tower: OnnxTower) -> bool:
    """Tell whether a node takes rows of a constant matrix."""
    if node.op_type != "Gather" or any(attribute.i for attribute in node.attribute if attribute.name == "axis"):
        return False
    table = tower.constants.get(node.input[0])
    return table is not None and table.ndim == 2 and table.dtype == np.float32


def _trimmed_nodes(node: Any, tower: OnnxTower, table: str) -> Iterator[Any]:
    """Yield the nodes in place of `node`: itself, or those that take rows of the shorter table."""
    if not (_takes_rows(node, tower) and node.input[0] == table):
        yield node
        return
    positions = f"{node.output[0]}.rows"
    yield helper.make_node("Gather", [ROWS, node.input[1]], [positions])
    yield helper.make_node("Gather", [f"{table}.kept", positions], [node.output[0]])
