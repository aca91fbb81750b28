"""Just enough protobuf to write the two graphs that ranking runs, so that the runtime needs no onnx package.

Field numbers are those of onnx.proto3 (ONNX 1.x, IR version 8); the wire format is
https://protobuf.dev/programming-guides/encoding: a key `number << 3 | type`, then a varint (type 0) or a length and
that many bytes (type 2).
"""

from __future__ import annotations

from collections.abc import Sequence

FLOAT, UINT8, INT8 = 1, 2, 3
_EXTERNAL = 1


def _varint(value: int) -> bytes:
    """Seven bits a byte, lowest first; the high bit says that more follow."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(out) + bytes([value])


def _field(number: int, value: int | str | bytes) -> bytes:
    """One field of a message."""
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    data = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _message(*fields: tuple[int, int | str | bytes]) -> bytes:
    return b"".join(_field(number, value) for number, value in fields)


def _port(name: str, dtype: int, shape: Sequence[int | str]) -> bytes:
    """ValueInfoProto: a graph input or output; a str in the shape names a size that is open."""
    sizes = [(1, _message((2 if isinstance(size, str) else 1, size))) for size in shape]
    return _message((1, name), (2, _message((1, _message((1, dtype), (2, _message(*sizes)))))))


def _external(name: str, dtype: int, shape: Sequence[int], size: int) -> bytes:
    """TensorProto whose bytes the session is handed separately; its location is never opened."""
    entries = {"location": name, "offset": "0", "length": str(size)}
    stored = [(13, _message((1, key), (2, value))) for key, value in entries.items()]
    return _message(*((1, d) for d in shape), (2, dtype), (8, name), *stored, (14, _EXTERNAL))


def product(dim: int, rows: int) -> bytes:
    """ModelProto: inputs (M, dim) float32 -> inputs @ weights (dim, rows) float32, an external tensor of that name."""
    node = _message((1, "inputs"), (1, "weights"), (2, "values"), (4, "MatMul"))
    weights = _external("weights", FLOAT, (dim, rows), 4 * dim * rows)
    return _model(node, [weights], _port("inputs", FLOAT, ("M", dim)), _port("values", FLOAT, ("M", rows)))


def scaled_product(dim: int, rows: int, zero: int) -> bytes:
    """ModelProto: inputs (M, dim) uint8 -> (inputs - zero) @ weights (dim, rows) int8 * scales (rows,) float32.

    `weights` and `scales` are external tensors of those names. MatMulIntegerToFloat is onnxruntime's own operator.
    """
    node = _message(
        *((1, name) for name in ("inputs", "weights", "one", "scales", "zero")),
        *((2, "values"), (4, "MatMulIntegerToFloat"), (7, "com.microsoft")),
    )
    constants = [
        _message((2, FLOAT), (8, "one"), (9, b"\x00\x00\x80\x3f")),
        _message((2, UINT8), (8, "zero"), (9, bytes([zero]))),
        _external("weights", INT8, (dim, rows), dim * rows),
        _external("scales", FLOAT, (rows,), 4 * rows),
    ]
    return _model(node, constants, _port("inputs", UINT8, ("M", dim)), _port("values", FLOAT, ("M", rows)))


def _model(node: bytes, constants: Sequence[bytes], taken: bytes, given: bytes) -> bytes:
    """ModelProto of one node, with one input and one output."""
    graph = _message((1, node), (2, "rank"), *((5, constant) for constant in constants), (11, taken), (12, given))
    opsets = [(8, _message((1, domain), (2, version))) for domain, version in (("", 17), ("com.microsoft", 1))]
    return _message((1, 8), *opsets, (7, graph))
