"""A builder of ONNX graphs whose files are reproducible to the byte.

Nodes and constants get their names from the scope in which they are made; no name depends on time or on hashing.
Constants stay NumPy arrays until the graph is written, so that a tower above the 2 GB of a protobuf is never copied.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from clipshelf_export.graphs.functions import (
    ATTRIBUTES,
    DOMAIN,
    INPUTS,
    MICROSOFT_DOMAIN,
    OPSET,
    Style,
    make_function,
)
from clipshelf_export.graphs.panels import fills_panels

# operators of onnxruntime that the ONNX standard does not have
CONTRIB_OPERATORS = frozenset(
    {"Attention", "FastGelu", "Gelu", "MultiHeadAttention", "QuickGelu", "SkipLayerNormalization"}
)
# A protobuf holds 2 GiB; above this many bytes of constants the large ones go to <graph>.data.
EXTERNAL_ABOVE = 1_900_000_000
# Offsets in <graph>.data are multiples of this, so that a runtime can map the weights.
EXTERNAL_ALIGNMENT = 4096
# Constants below this many bytes always stay in the protobuf.
EXTERNAL_AT_LEAST = 1024


class Graph:
    """The nodes and constants of one graph, in order.

    - `nodes`: ONNX nodes.
    - `constants`: arrays by name.
    - `inputs`: ONNX descriptions of the graph's inputs.
    - `site_inputs`: the tensor that enters each site, by the site's name; `graphs.plan` defines sites.
    - `opset`: of the standard operators.
    """

    def __init__(self, opset: int = OPSET) -> None:
        self.opset = opset
        self.nodes: list[Any] = []
        self.constants: dict[str, np.ndarray[Any, Any]] = {}
        self.inputs: list[Any] = []
        self.site_inputs: dict[str, str] = {}
        self._functions: dict[str, onnx.FunctionProto] = {}
        self._scope: list[str] = []
        self._names: Counter[str] = Counter()

    @contextmanager
    def scope(self, name: str) -> Iterator[None]:
        """Prefix the names of nodes, constants and sites that are made inside the block."""
        self._scope.append(name)
        yield
        self._scope.pop()

    def input(self, name: str, dtype: int, shape: Sequence[int | str]) -> str:
        """Declare an input of the graph.

        - `dtype`: a data type of `onnx.TensorProto`.
        - `shape`: a size, or the name of a dimension of any size, per axis.

        Returns `name`.
        """
        self.inputs.append(helper.make_tensor_value_info(name, dtype, shape))
        return name

    def const(self, name: str, value: Any) -> str:
        """Add an array as a constant and return its name in the graph, which has the scope before it."""
        unique = self._unique_name(name)
        self.constants[unique] = np.asarray(value)
        return unique

    def op(self, kind: str, *inputs: str, **attributes: int | float | Sequence[int]) -> str:
        """Add a node with one output.

        - `kind`: the ONNX operator.
        - `inputs`: names of tensors, "" for an optional input that is left out.
        - `attributes`: the attributes of the node.

        Returns the name of the output.
        """
        name = self._unique_name(kind)
        self._add_node(kind, name, inputs, [name], attributes)
        return name

    def reserve(self, name: str) -> str:
        """Return a name after the scope, for a tensor whose node `node` adds later."""
        return self._unique_name(name)

    def node(
        self, kind: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: int | float | Sequence[int]
    ) -> None:
        """Add a node whose outputs have names already, "" for one that is left out; it is named after the first."""
        self._add_node(kind, outputs[0], inputs, outputs, attributes)

    def kernel_op(
        self,
        kind: str,
        style: Style,
        inputs: dict[str, str],
        *,
        suffixes: Sequence[str] = (),
        **attributes: Any,
    ) -> list[str]:
        """Add a node of the native kernels, and the function of its name.

        - `kind`: the operator, a key of `functions.INPUTS`.
        - `style`: of the tower.
        - `inputs`: names of tensors by the operator's inputs; one that is missing or "" is left out.
        - `suffixes`: the optional inputs and outputs whose presence changes the function, in its order.
        - `attributes`: those of `functions.ATTRIBUTES`.

        Returns the names of the outputs: one, or two with the suffix "Outliers".
        """
        if unknown := inputs.keys() - set(INPUTS[kind]) | attributes.keys() - ATTRIBUTES[kind].keys():
            raise ValueError(f"{kind}: expected inputs and attributes that it has, found {sorted(unknown)}")
        operator = kind + "".join(suffixes)
        padded = "weight_shape" in attributes and not fills_panels(
            attributes["weight_shape"], int8="sums" in INPUTS[kind]
        )
        if padded or operator not in self._functions:  # one body for all nodes, so a single padded weight decides
            self._functions[operator] = make_function(kind, tuple(suffixes), style, self.opset, padded=padded)
        names = [inputs.get(name, "") for name in INPUTS[kind]]
        while not names[-1]:
            names.pop()
        name = self._unique_name(operator)
        outputs = [name, f"{name}.outliers"] if "Outliers" in suffixes else [name]
        self.nodes.append(helper.make_node(operator, names, outputs, name=name, domain=DOMAIN, **attributes))
        return outputs

    def cast(self, x: str, dtype: int) -> str:
        """Add a conversion of the tensor `x` to a data type of `onnx.TensorProto`; return the output's name."""
        return self.op("Cast", x, to=dtype)

    def split(self, x: str, parts: int) -> list[str]:
        """Add a split of the last axis of the tensor `x` into equal parts; return the names of the parts."""
        name = self._unique_name("Split")
        outputs = [f"{name}.{index}" for index in range(parts)]
        self._add_node("Split", name, [x], outputs, {"axis": -1, "num_outputs": parts})
        return outputs

    def site_name(self, name: str) -> str:
        """Return the name of a site in the plan: the scope and `name`."""
        return ".".join((*self._scope, name))

    def mark_site(self, site: str, x: str) -> None:
        """Remember that the tensor `x` enters `site`; only the first tensor of a site counts."""
        self.site_inputs.setdefault(site, x)

    def count_nodes(self) -> Counter[str]:
        """Return the number of nodes of each operator, with the functions of the kernels inlined."""
        counts: Counter[str] = Counter()
        for node in self.nodes:
            inlined = self._functions[node.op_type].node if node.domain == DOMAIN else [node]
            counts.update(inner.op_type for inner in inlined)
        return counts

    def count_kernels(self) -> Counter[str]:
        """Return the number of nodes of each native kernel."""
        return Counter(node.op_type for node in self.nodes if node.domain == DOMAIN)

    def write(self, path: Path, output: str, dim: int, *, extra_outputs: Sequence[str] = ()) -> None:
        """Write the graph as an ONNX file, and its large constants beside it to `<path>.data`.

        They lie there in graphs of the native kernels, so that onnxruntime maps them and processes share them, and
        where one file cannot hold them.

        - `path`: the file to write.
        - `output`: the tensor with the embeddings, float32 (B, `dim`). The file calls it image_embeds or text_embeds.
        - `extra_outputs`: other float32 tensors that become outputs.
        """
        node = next(node for node in self.nodes if output in node.output)
        public_name = "image_embeds" if self.inputs[0].name == "pixels" else "text_embeds"
        node.output[0] = public_name
        outputs = [helper.make_tensor_value_info(public_name, TensorProto.FLOAT, ["batch", dim])]
        outputs += [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in extra_outputs]
        proto = helper.make_graph(self.nodes, public_name.removesuffix("_embeds"), self.inputs, outputs)
        opsets = [helper.make_opsetid("", self.opset), helper.make_opsetid(MICROSOFT_DOMAIN, 1)]
        functions = [self._functions[name] for name in sorted(self._functions)]
        if functions:
            opsets.append(helper.make_opsetid(DOMAIN, 1))
        model = helper.make_model(
            proto, opset_imports=opsets, functions=functions, ir_version=9, producer_name="clipshelf"
        )
        _add_constants(model, self.constants, path, external=bool(functions))
        with path.open("wb") as file:
            file.write(model.SerializeToString(deterministic=True))
        node.output[0] = output

    def _add_node(
        self, kind: str, name: str, inputs: Sequence[str], outputs: Sequence[str], attributes: dict[str, Any]
    ) -> None:
        domain = MICROSOFT_DOMAIN if kind in CONTRIB_OPERATORS else ""
        self.nodes.append(helper.make_node(kind, list(inputs), outputs, name=name, domain=domain, **attributes))

    def _unique_name(self, name: str) -> str:
        """Return `name` after its scope, with a number where it is already in use."""
        full = "/".join((*self._scope, name))
        self._names[full] += 1
        return full if self._names[full] == 1 else f"{full}_{self._names[full]}"


def _add_constants(model: Any, constants: dict[str, np.ndarray[Any, Any]], path: Path, *, external: bool) -> None:
    """Put constants into the protobuf; the large ones go to `<path>.data` if `external`, or if they do not fit."""
    initializers = model.graph.initializer
    if not external and sum(array.nbytes for array in constants.values()) <= EXTERNAL_ABOVE:
        initializers.extend(_inline_tensor(name, array) for name, array in constants.items())
        return
    data = path.with_name(f"{path.name}.data")
    with data.open("wb") as file:
        for name, array in constants.items():
            if array.nbytes < EXTERNAL_AT_LEAST:
                initializers.append(_inline_tensor(name, array))
                continue
            file.write(b"\0" * (-file.tell() % EXTERNAL_ALIGNMENT))
            initializers.append(_external_tensor(name, array, data.name, file.tell()))
            file.write(np.ascontiguousarray(array).data)


def _inline_tensor(name: str, array: np.ndarray[Any, Any]) -> Any:
    return onnx.numpy_helper.from_array(np.ascontiguousarray(array), name)


def _external_tensor(name: str, array: np.ndarray[Any, Any], location: str, offset: int) -> Any:
    tensor = TensorProto(name=name, dims=array.shape, data_location=TensorProto.EXTERNAL)
    tensor.data_type = helper.np_dtype_to_tensor_dtype(array.dtype)
    for key, value in {"location": location, "offset": offset, "length": array.nbytes}.items():
        tensor.external_data.add(key=key, value=str(value))
    return tensor
