"""Writes the graphs that ranking runs, as protobuf bytes, so that the runtime needs no onnx package.

Field numbers are those of onnx.proto3 (ONNX 1.x, IR version 8): https://github.com/onnx/onnx/blob/main/onnx/onnx.proto3
The encoding is https://protobuf.dev/programming-guides/encoding: a key `number << 3 | type`, then a varint (type 0), or
a length and that many bytes (type 2).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

Field: TypeAlias = tuple[int, int | str | bytes]  # number and value

# TensorProto.DataType, TensorProto.DataLocation and AttributeProto.AttributeType
FLOAT, UINT8, INT8, INT64, FLOAT16 = 1, 2, 3, 7, 10
EXTERNAL = 1
INTEGER = 2
IR_VERSION = 8
OPSETS = {"": 17, "com.microsoft": 1}
ONE = b"\x00\x00\x80\x3f"  # 1.0 as little-endian float32


def float_matmul(dim: int, columns: int) -> bytes:
    """ModelProto of `values (M, columns) = inputs (M, dim) @ weights (dim, columns)`, all float32.

    `weights` is an external tensor: the session is given its bytes under that name.
    """
    node = _message((1, "inputs"), (1, "weights"), (2, "values"), (4, "MatMul"))
    weights = _external_tensor("weights", FLOAT, (dim, columns), 4 * dim * columns)
    return _model([node], [weights], [_port("inputs", FLOAT, ("M", dim))], [_port("values", FLOAT, ("M", columns))])


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
    return _model([node], constants, [_port("inputs", UINT8, ("M", dim))], [_port("values", FLOAT, ("M", columns))])


def to_half(dim: int) -> bytes:
    """ModelProto of `halves` (N, dim) fp16 = `rows` (N, dim) float32, rounded to the nearest."""
    node = _node("Cast", ["rows"], ["halves"], to=FLOAT16)
    return _model([node], [], [_port("rows", FLOAT, ("N", dim))], [_port("halves", FLOAT16, ("N", dim))])


def best_products(dim: int, *, group: int, terms: bool) -> bytes:
    """ModelProto that finds the largest of products (M, N) = queries (M, dim) @ rows (N, dim) transposed, in fp16.

    - `group`: N is a multiple of it. The maxima of groups of so many neighbouring rows are searched first, and then
      the rows of the `groups` best groups: with at least k groups, no larger product is missed.
    - `terms`: whether products are multiplied by `scales` (M, 1), and `terms` (N,) are added, both float32.

    Inputs are these and `groups`, `k`: int64 (1,). Outputs are `values` (M, k) float32, largest first; `places` (M, k)
    int64, where each stands among the rows of the groups; `found` (M, groups) int64, the numbers of these groups.
    """
    nodes = [_node("Gemm", ["queries", "rows"], ["products"], transB=1)]
    inputs = [_port("queries", FLOAT16, ("M", dim)), _port("rows", FLOAT16, ("N", dim))]
    products = "products"
    if terms:
        nodes += [
            _node("Cast", ["products"], ["unscaled"], to=FLOAT),
            _node("Mul", ["unscaled", "scales"], ["scaled"]),
            _node("Add", ["scaled", "terms"], ["sums"]),
        ]
        inputs += [_port("scales", FLOAT, ("M", 1)), _port("terms", FLOAT, ("N",))]
        products = "sums"
    nodes += [
        _node("Reshape", [products, "by_group"], ["grouped"]),
        _node("ReduceMax", ["grouped", "last_axis"], ["maxima"], keepdims=0),
        _node("TopK", ["maxima", "groups"], ["best_maxima", "found"], sorted=0),
        _node("Unsqueeze", ["found", "last_axis"], ["indices"]),
        _node("GatherND", ["grouped", "indices"], ["members"], batch_dims=1),
        _node("Flatten", ["members"], ["half_candidates"], axis=1),
        _node("Cast", ["half_candidates"], ["candidates"], to=FLOAT),
        _node("TopK", ["candidates", "k"], ["values", "places"]),
    ]
    inputs += [_port("groups", INT64, (1,)), _port("k", INT64, (1,))]
    outputs = [("values", FLOAT, "k"), ("places", INT64, "k"), ("found", INT64, "groups")]
    constants = [_int64s("by_group", (0, -1, group)), _int64s("last_axis", (-1,))]
    return _model(
        nodes, constants, inputs, [_port(name, dtype, ("M", columns)) for name, dtype, columns in outputs], opset=18
    )


def _node(kind: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: int) -> bytes:
    """NodeProto of a standard operator with integers as attributes."""
    names: list[Field] = [*((1, name) for name in inputs), *((2, name) for name in outputs), (4, kind)]
    fields = [(5, _message((1, name), (3, value), (20, INTEGER))) for name, value in attributes.items()]
    return _message(*names, *fields)


def _int64s(name: str, values: Sequence[int]) -> bytes:
    """TensorProto of whole numbers."""
    data = b"".join(value.to_bytes(8, "little", signed=True) for value in values)
    return _message((1, len(values)), (2, INT64), (8, name), (9, data))


def _model(
    nodes: Sequence[bytes],
    constants: Sequence[bytes],
    inputs: Sequence[bytes],
    outputs: Sequence[bytes],
    opset: int = OPSETS[""],
) -> bytes:
    """ModelProto of a graph, whose nodes follow each other."""
    fields: list[Field] = [(1, node) for node in nodes]
    fields += [(2, "rank"), *((5, constant) for constant in constants)]
    fields += [*((11, port) for port in inputs), *((12, port) for port in outputs)]
    graph = _message(*fields)
    versions = OPSETS | {"": opset}
    opsets: list[Field] = [(8, _message((1, domain), (2, version))) for domain, version in versions.items()]
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
