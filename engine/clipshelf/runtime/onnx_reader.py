"""Reads which files and operators an ONNX graph needs, without the onnx package and before onnxruntime opens it.

The wire format is that of `clipshelf.runtime.onnx_graphs`, which names its sources. A reader takes a field that it does
not know, or that has another wire type than it expects, as unknown and skips it; so does this one.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

from clipshelf.errors import ArtifactError

Range: TypeAlias = tuple[int, int]  # start and end of a message in the file

# The fields of each message that lead to a tensor, and the message that each holds. Numbers are those of onnx.proto3.
_FIELDS: dict[str, dict[int, str]] = {
    "ModelProto": {7: "GraphProto", 20: "TrainingInfoProto", 25: "FunctionProto"},
    "TrainingInfoProto": {1: "GraphProto", 2: "GraphProto"},
    "FunctionProto": {7: "NodeProto", 11: "AttributeProto"},
    "GraphProto": {1: "NodeProto", 5: "TensorProto", 15: "SparseTensorProto"},
    "NodeProto": {5: "AttributeProto"},
    "AttributeProto": {
        5: "TensorProto",
        6: "GraphProto",
        10: "TensorProto",
        11: "GraphProto",
        22: "SparseTensorProto",
        23: "SparseTensorProto",
    },
    "SparseTensorProto": {1: "TensorProto", 2: "TensorProto"},
    "TensorProto": {13: "StringStringEntryProto"},
    "StringStringEntryProto": {},
}
_OPSET_IMPORT = 8  # the field of ModelProto that names an operator set
_LOCATION = b"location"  # the key of `TensorProto.external_data` that names a file
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # wire types; groups, 3 and 4, are not used by ONNX


def external_files(path: Path) -> set[str]:
    """Names of the files from which tensors of the graph at `path` are read, as the graph writes them.

    Names count whether or not onnxruntime would use them. Raises ArtifactError where the file is no protobuf message.
    """
    return _read(path, _locations)


def operator_domains(path: Path) -> set[str]:
    """Names of the operator sets that the graph at `path` imports; "" is that of the ONNX standard.

    Raises ArtifactError where the file is no protobuf message.
    """
    return _read(path, _domains)


def _read(path: Path, names: Callable[[mmap.mmap], Iterator[str]]) -> set[str]:
    if path.stat().st_size == 0:
        return set()
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        try:
            return set(names(data))
        except (IndexError, ValueError) as error:
            raise ArtifactError(f"{path}: expected a graph that onnxruntime can open, found: {error}") from error


def _domains(data: mmap.mmap) -> Iterator[str]:
    """The domain of each OperatorSetIdProto of the model."""
    for number, (start, end) in _length_delimited(data, 0, len(data)):
        if number == _OPSET_IMPORT:
            texts = {field: data[first:stop] for field, (first, stop) in _length_delimited(data, start, end)}
            yield texts.get(1, b"").decode("utf-8", "backslashreplace")


def _locations(data: mmap.mmap) -> Iterator[str]:
    """The value of each entry of external data whose key is "location"."""
    messages = [("ModelProto", 0, len(data))]
    while messages:
        kind, start, end = messages.pop()
        parts = list(_length_delimited(data, start, end))
        if kind == "StringStringEntryProto":
            texts = {number: data[first:stop] for number, (first, stop) in parts}  # the last of each counts
            if texts.get(1) == _LOCATION:
                yield texts.get(2, b"").decode("utf-8", "backslashreplace")
        kinds = _FIELDS[kind]
        messages += [(kinds[number], *part) for number, part in parts if number in kinds]


def _length_delimited(data: mmap.mmap, start: int, end: int) -> Iterator[tuple[int, Range]]:
    """Number and range of each field of a message that holds a message, a string or bytes."""
    position = start
    while position < end:
        key, position = _varint(data, position)
        wire_type = key & 7
        if wire_type == _BYTES:
            size, position = _varint(data, position)
            if size > end - position:
                raise ValueError(f"a field that ends {size - (end - position)} bytes after its message")
            yield key >> 3, (position, position + size)
            position += size
        elif wire_type == _VARINT:
            _, position = _varint(data, position)
        elif wire_type in (_FIXED64, _FIXED32):
            position += 8 if wire_type == _FIXED64 else 4
        else:
            raise ValueError(f"a field of wire type {wire_type} at byte {position}")
    if position > end:
        raise ValueError(f"a field that ends {position - end} bytes after its message")


def _varint(data: mmap.mmap, position: int) -> tuple[int, int]:
    """A number and the position after it."""
    value = data[position]
    position += 1
    if value < 0x80:
        return value, position
    value &= 0x7F
    for shift in range(7, 70, 7):
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise ValueError(f"a number of more than 10 bytes at byte {position}")
