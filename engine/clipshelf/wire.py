"""Just enough protobuf to write the one graph that ranking runs, so that the runtime needs no onnx package.

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


def scaled_product(dim: int, rows: int, zero: int) -> bytes:
    """ModelProto: digits (M, dim) uint8 -> (digits - zero) @ weights (dim, rows) int8 * scales (rows,) float32.

    `weights` and `scales` are external tensors of those names. MatMulIntegerToFloat is onnxruntime's own operator.
    """
    node = _message(
        *((1, name) for name in ("digits", "weights", "one", "scales", "zero")),
        *((2, "values"), (4, "MatMulIntegerToFloat"), (7, "com.microsoft")),
    )
    one = _message((2, FLOAT), (8, "one"), (9, b"\x00\x00\x80\x3f"))
    offset = _message((2, UINT8), (8, "zero"), (9, bytes([zero])))
    graph = _message(
        *((1, node), (2, "rank"), (5, one), (5, offset)),
        (5, _external("weights", INT8, (dim, rows), dim * rows)),
        (5, _external("scales", FLOAT, (rows,), 4 * rows)),
        *((11, _port("digits", UINT8, ("M", dim))), (12, _port("values", FLOAT, ("M", rows)))),
    )
    opsets = [(8, _message((1, domain), (2, version))) for domain, version in (("", 17), ("com.microsoft", 1))]
    return _message((1, 8), *opsets, (7, graph))
