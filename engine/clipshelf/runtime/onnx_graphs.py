"""Writes the two graphs that ranking runs, as protobuf bytes, so that the runtime needs no onnx package.

Field numbers are those of onnx.proto3 (ONNX 1.x, IR version 8): https://github.com/onnx/onnx/blob/main/onnx/onnx.proto3
The encoding is https://protobuf.dev/programming-guides/encoding: a key `number << 3 | type`, then a varint (type 0), or
a length and that many bytes (type 2).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

Field: TypeAlias = tuple[int, int | str | bytes]  # number and value

# TensorProto.DataType and TensorProto.DataLocation
FLOAT, UINT8, INT8 = 1, 2, 3
EXTERNAL = 1
IR_VERSION = 8
OPSETS = {"": 17, "com.microsoft": 1}
ONE = b"\x00\x00\x80\x3f"  # 1.0 as little-endian float32


def float_matmul(dim: int, columns: int) -> bytes:
    """ModelProto of `values (M, columns) = inputs (M, dim) @ weights (dim, columns)`, all float32.

    `weights` is an external tensor: the session is given its bytes under that name.
    """
    node = _message((1, "inputs"), (1, "weights"), (2, "values"), (4, "MatMul"))
    weights = _external_tensor("weights", FLOAT, (dim, columns), 4 * dim * columns)
    return _model(node, [weights], _port("inputs", FLOAT, ("M", dim)), _port("values", FLOAT, ("M", columns)))


def int8_matmul(dim: int, columns: int, zero: int) -> bytes:
    """ModelProto of `values (M, columns) = (inputs (M, dim) - zero) @ weights (dim, columns) * scales (columns,)`.

    Inputs are uint8, weights int8, scales and values float32. `weights` and `scales` are external tensors: the session
    is given their bytes under these names. The node is onnxruntime's own MatMulIntegerToFloat:
    https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md#com.microsoft.MatMulIntegerToFloat
    """
    node = _message(
        *((1, name) for name in ("inputs", "weights", "one", "scales", "zero")),
        *((2, "values"), (4, "MatMulIntegerToFloat"), (7, "com.microsoft")),
    )
    constants = [
        _message((2, FLOAT), (8, "one"), (9, ONE)),
        _message((2, UINT8), (8, "zero"), (9, bytes([zero]))),
        _external_tensor("weights", INT8, (dim, columns), dim * columns),
        _external_tensor("scales", FLOAT, (columns,), 4 * columns),
    ]
    return _model(node, constants, _port("inputs", UINT8, ("M", dim)), _port("values", FLOAT, ("M", columns)))


def _model(node: bytes, constants: Sequence[bytes], input_port: bytes, output_port: bytes) -> bytes:
    """ModelProto of one node, with one input and one output."""
    initializers: list[Field] = [(5, constant) for constant in constants]
    graph = _message((1, node), (2, "rank"), *initializers, (11, input_port), (12, output_port))
    opsets: list[Field] = [(8, _message((1, domain), (2, version))) for domain, version in OPSETS.items()]
    return _message((1, IR_VERSION), *opsets, (7, graph))


def _port(name: str, dtype: int, shape: Sequence[int | str]) -> bytes:
    """ValueInfoProto of a graph's input or output; a str in the shape names a dimension of any size."""
    dimensions: list[Field] = [(1, _message((2 if isinstance(size, str) else 1, size))) for size in shape]
    return _message((1, name), (2, _message((1, _message((1, dtype), (2, _message(*dimensions)))))))


def _external_tensor(name: str, dtype: int, shape: Sequence[int], size: int) -> bytes:
    """TensorProto whose `size` bytes the session is given separately; its location is never opened."""
    location = {"location": name, "offset": "0", "length": str(size)}
    entries: list[Field] = [(13, _message((1, key), (2, value))) for key, value in location.items()]
    return _message(*((1, dimension) for dimension in shape), (2, dtype), (8, name), *entries, (14, EXTERNAL))


def _message(*fields: Field) -> bytes:
    return b"".join(_field(number, value) for number, value in fields)


def _field(number: int, value: int | str | bytes) -> bytes:
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    data = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    """Seven bits a byte, lowest first; the high bit says that another byte follows."""
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(encoded) + bytes([value])
