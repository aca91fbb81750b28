"""A small builder of ONNX graphs: nodes are named by their place, constants written once, nothing depends on time.

Constants stay NumPy arrays until the graph is written, so a tower past the 2 GB of a protobuf costs no second copy.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from clipshelf.types import FloatArray
from onnx import TensorProto, helper

OPSET = 18
MICROSOFT = "com.microsoft"
CONTRIB = frozenset({"MultiHeadAttention", "QAttention", "QuickGelu", "Gelu", "MatMulIntegerToFloat"})
# a protobuf holds 2 GiB; past this many bytes of constants the weights go to <graph>.data
EXTERNAL_ABOVE = 1_900_000_000
ALIGNMENT = 4096  # so that a runtime can map external weights


class Graph:
    """Nodes and constants of one graph, in order."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: dict[str, np.ndarray[Any, Any]] = {}
        self.inputs: list[Any] = []
        self.taps: dict[str, str] = {}
        self._scope: list[str] = []
        self._names: Counter[str] = Counter()

    @contextmanager
    def scope(self, name: str) -> Iterator[None]:
        """Prefix the names of nodes made inside."""
        self._scope.append(name)
        yield
        self._scope.pop()

    def input(self, name: str, dtype: int, shape: Sequence[int | str]) -> str:
        """Declare a graph input."""
        self.inputs.append(helper.make_tensor_value_info(name, dtype, shape))
        return name

    def const(self, name: str, value: Any) -> str:
        """Add a constant under its scope and return its name; a second one of a name gets a number."""
        array = np.asarray(value)
        full = self._unique(name)
        self.constants[full] = array
        return full

    def op(self, kind: str, *inputs: str, outputs: int = 1, **attributes: Any) -> Any:
        """Add a node; returns its output's name, or a list of names if `outputs` > 1."""
        name = self._unique(kind)
        names = [name] if outputs == 1 else [f"{name}.{i}" for i in range(outputs)]
        domain = MICROSOFT if kind in CONTRIB else ""
        self.nodes.append(helper.make_node(kind, list(inputs), names, name=name, domain=domain, **attributes))
        return names[0] if outputs == 1 else names

    def site(self, name: str) -> str:
        """The name of a linear in a plan: its scope and `name`."""
        return ".".join((*self._scope, name))

    def tap(self, site: str, tensor: str) -> None:
        """Remember the tensor that enters the linear `site`, for calibration; the first of a site counts."""
        self.taps.setdefault(site, tensor)

    def count(self) -> Counter[str]:
        """Nodes of each kind."""
        return Counter(node.op_type for node in self.nodes)

    def write(self, path: Path, output: str, dim: int, *, extra: Sequence[str] = ()) -> None:
        """Write the graph with its float32 output `output` (B, dim); `extra` tensors become outputs too."""
        node = next(n for n in self.nodes if output in n.output)
        result = "image_embeds" if self.inputs[0].name == "pixels" else "text_embeds"
        node.output[0] = result
        infos = [helper.make_tensor_value_info(result, TensorProto.FLOAT, ["batch", dim])]
        infos += [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in extra]
        proto = helper.make_graph(self.nodes, result.removesuffix("_embeds"), self.inputs, infos)
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(MICROSOFT, 1)]
        model = helper.make_model(proto, opset_imports=opsets, ir_version=9, producer_name="clipshelf")
        _add_constants(model, self.constants, path)
        with path.open("wb") as file:
            file.write(model.SerializeToString(deterministic=True))
        node.output[0] = output

    def _unique(self, name: str) -> str:
        full = "/".join((*self._scope, name))
        self._names[full] += 1
        return full if self._names[full] == 1 else f"{full}_{self._names[full]}"


def _add_constants(model: Any, constants: dict[str, np.ndarray[Any, Any]], path: Path) -> None:
    """Put constants into the protobuf, or, past EXTERNAL_ABOVE bytes, the large ones into `<path>.data`, aligned."""
    if sum(array.nbytes for array in constants.values()) <= EXTERNAL_ABOVE:
        for name, array in constants.items():
            model.graph.initializer.append(onnx.numpy_helper.from_array(np.ascontiguousarray(array), name))
        return
    data = path.with_name(f"{path.name}.data")
    with data.open("wb") as file:
        for name, array in constants.items():
            if array.nbytes < 1024:
                model.graph.initializer.append(onnx.numpy_helper.from_array(np.ascontiguousarray(array), name))
                continue
            file.write(b"\0" * (-file.tell() % ALIGNMENT))
            tensor = TensorProto(name=name, dims=array.shape, data_location=TensorProto.EXTERNAL)
            tensor.data_type = helper.np_dtype_to_tensor_dtype(array.dtype)
            entries = {"location": data.name, "offset": file.tell(), "length": array.nbytes}
            for key, value in entries.items():
                tensor.external_data.add(key=key, value=str(value))
            file.write(np.ascontiguousarray(array).data)
            model.graph.initializer.append(tensor)


def float32(values: Any) -> FloatArray:
    """A float32 array of `values`."""
    return np.asarray(values, np.float32)
