from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
import pytest
from clipshelf.errors import ArtifactError
from clipshelf.runtime import onnx_reader
from clipshelf.runtime.onnx_reader import external_files
from onnx import TensorProto, helper


def external(location: str) -> TensorProto:
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="offset", value="0")
    tensor.external_data.add(key="location", value=location)
    return tensor


def constant(location: str) -> onnx.NodeProto:
    return helper.make_node("Constant", [], ["w"], value=external(location))


def graph(*nodes: onnx.NodeProto, **fields: Any) -> onnx.GraphProto:
    return helper.make_graph(nodes, "g", [], [], **fields)


def test_external_tensors_are_found_wherever_a_graph_can_hold_them(tmp_path: Path) -> None:
    sparse = onnx.SparseTensorProto(values=external("values"), indices=external("indices"), dims=[1])
    branch = helper.make_node("If", ["c"], ["y"], then_branch=graph(constant("then")), else_branch=graph())
    lists = helper.make_node("X", [], [])
    lists.attribute.add(name="t", tensors=[external("tensors")])
    lists.attribute.add(name="g", graphs=[graph(constant("graphs"))])
    lists.attribute.add(name="s", sparse_tensors=[sparse], sparse_tensor=sparse)
    function = helper.make_function("d", "f", [], [], [constant("function")], [])
    function.attribute_proto.add(name="a", t=external("default"))
    model = helper.make_model(
        graph(branch, lists, initializer=[external("initializer")], sparse_initializer=[sparse]), functions=[function]
    )
    model.training_info.add(initialization=graph(constant("training")), algorithm=graph(constant("algorithm")))
    path = tmp_path / "graph.onnx"
    path.write_bytes(model.SerializeToString())
    assert external_files(path) == {
        *("values", "indices", "then", "tensors", "graphs", "function", "default", "initializer"),
        *("training", "algorithm"),
    }


def test_every_field_that_leads_to_a_tensor_is_known() -> None:
    fields: dict[str, dict[int, str]] = {}
    unread = [onnx.ModelProto.DESCRIPTOR]
    while unread:
        message = unread.pop()
        if message.name not in fields:
            held = {f.number: f.message_type for f in message.fields if f.message_type is not None}
            fields[message.name] = {number: kind.name for number, kind in held.items()}
            unread += held.values()
    leading = {"TensorProto"}
    for _ in fields:
        leading |= {name for name, kinds in fields.items() if leading & set(kinds.values())}
    expected = {name: {n: kind for n, kind in fields[name].items() if kind in leading} for name in leading}
    expected["TensorProto"] = {13: "StringStringEntryProto"}
    assert expected | {"StringStringEntryProto": {}} == onnx_reader._FIELDS
    assert fields["TensorProto"][13] == "StringStringEntryProto"


def test_an_entry_that_is_not_marked_external_counts_too(tmp_path: Path) -> None:
    tensor = external("w.bin")
    tensor.data_location = TensorProto.DEFAULT
    path = tmp_path / "graph.onnx"
    path.write_bytes(helper.make_model(graph(initializer=[tensor])).SerializeToString())
    assert external_files(path) == {"w.bin"}


@pytest.mark.parametrize("cut", [1, 5, 20])
def test_what_is_no_graph_is_refused(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "graph.onnx"
    path.write_bytes(helper.make_model(graph(constant("w"))).SerializeToString()[:-cut])
    with pytest.raises(ArtifactError, match="expected a graph that onnxruntime can open"):
        external_files(path)
    for data in (b"\xff" * 20, b"\x0b", b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"):
        path.write_bytes(data)
        with pytest.raises(ArtifactError, match="expected a graph that onnxruntime can open"):
            external_files(path)
    path.write_bytes(b"")
    assert external_files(path) == set()
