"""The operators in onnxruntime: shapes, optional inputs, errors, threads. `test_kernels.py` has what they compute."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from kernel_cases import AttentionCase, LinearCase, pack_float_panels, round_to_uint8
from kernel_runner import Array, native_build
from onnx import helper, numpy_helper

TYPES = {"NormQuantize": np.uint8, "LinearQuantize": np.uint8, "Attention": np.uint8}


@pytest.fixture(scope="module")
def library() -> Path:
    (path,) = (native_build() / "native").glob("clipshelf_native.*")
    return path


def open_operator(
    library: Path,
    operator: str,
    inputs: Mapping[str, Array | None],
    *,
    constants: Sequence[str] = (),
    outputs: int = 1,
    threads: int = 2,
    **attributes: Any,
) -> ort.InferenceSession:
    """Open a graph of one node. `inputs`: by name, in order, None for one that is absent."""
    present = {name: array for name, array in inputs.items() if array is not None}
    names = [name if name in present else "" for name in inputs]
    node = helper.make_node(operator, names, [f"y{i}" for i in range(outputs)], domain="clipshelf", **attributes)
    dtypes = [np.dtype(TYPES.get(operator, np.float32)), *[np.dtype(np.float32)] * (outputs - 1)]
    graph = helper.make_graph(
        [node],
        operator,
        [_port(name, array.dtype, array.ndim) for name, array in present.items() if name not in constants],
        [_port(f"y{i}", dtype, None) for i, dtype in enumerate(dtypes)],
        [numpy_helper.from_array(present[name], name) for name in constants if name in present],
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("clipshelf", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    options.register_custom_ops_library(str(library))
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _port(name: str, dtype: np.dtype[Any], rank: int | None) -> onnx.ValueInfoProto:
    shape = None if rank is None else [None] * rank
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(dtype), shape)


def run(
    library: Path, operator: str, inputs: Mapping[str, Array | None], constants: Sequence[str] = (), **options: Any
) -> list[Array]:
    session = open_operator(library, operator, inputs, constants=constants, **options)
    names = {port.name for port in session.get_inputs()}
    results: list[Array] = session.run(None, {name: inputs[name] for name in inputs if name in names})
    return results


WEIGHTS = ("panels", "sums", "scale", "bias", "column_weight", "shift", "unspread", "channels")


def linear_inputs(case: LinearCase, *names: str) -> dict[str, Array | None]:
    _, panels, sums, scale, bias, *_ = case.case().arrays
    return {"x": case.a["x"], "panels": panels, "sums": sums, "scale": scale, "bias": bias} | {
        name: case.a[name] for name in names
    }


@pytest.mark.parametrize("columns", [0, 3])
@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("inputs", [64, 70])
def test_linear(library: Path, columns: int, residual: bool, inputs: int) -> None:
    case = LinearCase(1, 13, inputs, 100, activation="gelu", columns=columns, residual=residual)
    given = linear_inputs(case, "residual", "columns", "column_weight")
    (y,) = run(library, "Linear", given, WEIGHTS, zero=case.zero, activation=2)
    np.testing.assert_allclose(y, case.expected(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("transforms", [False, True])
def test_linear_quantize(library: Path, transforms: bool) -> None:
    case = LinearCase(2, 12, 66, 70, activation="silu", columns=2, rounded=True, transforms=transforms)
    given = linear_inputs(case, "columns", "column_weight", "shift", "unspread", "channels")
    rounding = {"out_scale": case.out_scale, "out_zero": case.out_zero}
    y, *outliers = run(
        library, "LinearQuantize", given, WEIGHTS, outputs=1 + transforms, zero=case.zero, activation=1, **rounding
    )
    expected = case.expected()
    assert np.abs(y.astype(int) - round_to_uint8(expected, case.out_scale, case.out_zero)).max() <= 1
    if transforms:
        np.testing.assert_allclose(outliers[0], expected[:, case.a["channels"]], rtol=1e-5, atol=1e-5)


def attention_inputs(case: AttentionCase) -> tuple[dict[str, Array | None], AttentionCase]:
    """Inputs of Attention whose packed linear puts out about what `case` says, and the case with what it puts out."""
    width = 3 * case.heads * case.size
    linear = LinearCase(case.seed, case.batch * case.tokens, 40, width, columns=2)
    case.packed = linear.expected().astype(np.float32).reshape(case.packed.shape)
    given = linear_inputs(linear, "columns", "column_weight")
    for name in ("x", "columns"):
        array = given[name]
        assert array is not None
        given[name] = array.reshape(case.batch, case.tokens, -1)
    return given | {"key_mask": case.mask, "position": case.position}, case


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("positions", [0, 1, 3])
@pytest.mark.parametrize("size", [16, 64, 33])
def test_attention(library: Path, causal: bool, masked: bool, positions: int, size: int) -> None:
    given, case = attention_inputs(AttentionCase(3, 3, 21, 2, size, causal, masked, positions))
    settings = {"zero": 131, "heads": 2, "causal": int(causal)}
    expected = case.expected()
    (y,) = run(library, "AttentionFloat", given, WEIGHTS, **settings)
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-4)
    (rounded,) = run(library, "Attention", given, WEIGHTS, **settings, out_scale=0.02, out_zero=128)
    assert np.abs(rounded.astype(int) - round_to_uint8(expected, 0.02, 128)).max() <= 1


def test_a_query_without_keys_gives_zeros(library: Path) -> None:
    given, case = attention_inputs(AttentionCase(4, 2, 5, 2, 16))
    mask = np.ones((2, 5), np.int32)
    mask[1] = 0
    (y,) = run(library, "AttentionFloat", given | {"key_mask": mask}, WEIGHTS, zero=131, heads=2)
    assert not y[1].any()
    np.testing.assert_allclose(y[0], case.expected()[0], rtol=1e-4, atol=1e-4)


def test_norms(library: Path) -> None:
    x = np.random.default_rng(5).standard_normal((2, 7, 40)).astype(np.float32)
    gain, bias = np.full(40, 2, np.float32), np.full(40, 0.5, np.float32)
    given: dict[str, Array | None] = {"x": x, "gain": gain, "bias": bias}
    centred = x.astype(np.float64) - x.mean(-1, keepdims=True, dtype=np.float64)
    expected = 2 * centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5) + 0.5
    (y,) = run(library, "Norm", given, ("gain", "bias"), epsilon=1e-5)
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)
    channels = np.array([39, 0])
    rounded, outliers = run(
        library, "NormQuantize", given | {"channels": channels}, outputs=2, epsilon=1e-5, out_scale=0.05, out_zero=9
    )
    assert np.abs(rounded.astype(int) - round_to_uint8(expected, 0.05, 9)).max() <= 1
    np.testing.assert_allclose(outliers, expected[..., channels], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("residual", [False, True])
def test_float_linear(library: Path, dtype: type[np.generic], residual: bool) -> None:
    random = np.random.default_rng(6)
    x, weight = random.standard_normal((3, 5, 50)).astype(np.float32), random.standard_normal((50, 70)).astype(dtype)
    bias = random.standard_normal(70).astype(np.float32)
    more = random.standard_normal((3, 5, 70)).astype(np.float32) if residual else None
    given: dict[str, Array | None] = {"x": x, "panels": pack_float_panels(weight), "bias": bias, "residual": more}
    (y,) = run(library, "FloatLinear", given, ("panels", "bias"))
    expected = x.astype(np.float64) @ weight.astype(np.float64) + bias + (0 if more is None else more)
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)


def test_normalize(library: Path) -> None:
    x = np.random.default_rng(7).standard_normal((4, 90)).astype(np.float32)
    (y,) = run(library, "Normalize", {"x": x})
    np.testing.assert_allclose(np.linalg.norm(y, axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(y, x / np.linalg.norm(x, axis=1, keepdims=True), rtol=1e-5)


@pytest.mark.parametrize("rows", [1, 12, 50, 700])
def test_the_number_of_threads_changes_no_bit(library: Path, rows: int) -> None:
    linear = LinearCase(8, rows, 96, 900, activation="silu", residual=True)
    given = linear_inputs(linear, "residual")
    attention, _ = attention_inputs(AttentionCase(9, 1, rows, 4, 20))
    results = [
        (
            *run(library, "Linear", given, WEIGHTS, zero=1, activation=1, threads=threads),
            *run(library, "AttentionFloat", attention, WEIGHTS, zero=1, heads=4, threads=threads),
        )
        for threads in (1, 2, 5)
    ]
    for y, z in results[1:]:
        assert (y.tobytes(), z.tobytes()) == (results[0][0].tobytes(), results[0][1].tobytes())


def test_an_empty_batch_has_an_empty_output(library: Path) -> None:
    linear = LinearCase(8, 4, 8, 12)
    given = linear_inputs(linear) | {"x": np.zeros((0, 8), np.uint8)}
    (y,) = run(library, "Linear", given, WEIGHTS)
    assert y.shape == (0, 12)
    attention, _ = attention_inputs(AttentionCase(9, 1, 4, 2, 8))
    empty = attention | {"x": np.zeros((0, 4, 40), np.uint8), "columns": np.zeros((0, 4, 2), np.float32)}
    (y,) = run(library, "AttentionFloat", empty, WEIGHTS, heads=2)
    assert y.shape == (0, 4, 16)


def test_several_threads_may_run_one_session(library: Path) -> None:
    given, _ = attention_inputs(AttentionCase(9, 2, 30, 4, 16))
    session = open_operator(library, "AttentionFloat", given, constants=WEIGHTS, zero=1, heads=4)
    feeds = {name: given[name] for name in ("x", "columns")}
    (expected,) = session.run(None, feeds)
    wrong: list[int] = []

    def repeat(number: int) -> None:
        results = [session.run(None, feeds)[0] for _ in range(20)]
        wrong.extend(number for result in results if result.tobytes() != expected.tobytes())

    threads = [threading.Thread(target=repeat, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


BAD_ATTRIBUTES = [
    ("Norm", {}, "epsilon: expected a float above 0, found none"),
    ("Norm", {"epsilon": -1.0}, "epsilon: expected a float above 0, found another value"),
    ("NormQuantize", {"epsilon": 1e-5}, "out_scale: expected a float above 0, found none"),
    ("NormQuantize", {"epsilon": 1e-5, "out_scale": 0.1, "out_zero": 256}, "out_zero: expected 0 to 255, found 256"),
    ("Linear", {"activation": 4}, "activation: expected 0 to 3, found 4"),
    ("AttentionFloat", {"heads": 0}, "heads: expected 1 to 65536, found 0"),
    ("AttentionFloat", {"heads": 2.0}, "heads: expected an int, found another type"),
    ("Linear", {"zero": [1, 2]}, "zero: expected an int, found another type"),
    ("Linear", {"activation": "gelu"}, "activation: expected an int, found another type"),
    ("Norm", {"epsilon": 1}, "epsilon: expected a float above 0, found another type"),
]


@pytest.mark.parametrize(("operator", "attributes", "message"), BAD_ATTRIBUTES)
def test_attributes_are_checked(library: Path, operator: str, attributes: dict[str, Any], message: str) -> None:
    x = np.zeros((2, 8), np.float32)
    given: dict[str, Array | None] = {"x": x, "gain": x[0], "bias": x[0]}
    if operator in ("Linear", "AttentionFloat"):
        given = linear_inputs(LinearCase(0, 2, 8, 12))
    with pytest.raises(Exception, match=message):
        open_operator(library, operator, given, **attributes)


BAD_SHAPES = [
    ({"sums": np.zeros(3, np.int32)}, "sums: expected 12 elements, found 3"),
    ({"panels": np.zeros((1, 1, 64, 4), np.int8)}, "panels: expected 512 elements, found 256"),
    ({"bias": np.zeros(13, np.float32)}, "bias: expected 12 elements, found 13"),
    ({"residual": np.zeros((2, 13), np.float32)}, "residual: expected 24 elements, found 26"),
    ({"columns": np.zeros((2, 3), np.float32)}, r"column_weight: expected \(3, 12\), found none"),
    ({"x": np.zeros((), np.uint8)}, "x: expected at least one dimension"),
    ({"x": np.zeros((1, 70_000), np.uint8)}, "expected at most 65536 inputs"),
]


@pytest.mark.parametrize(("changed", "message"), BAD_SHAPES)
def test_shapes_are_checked(library: Path, changed: dict[str, Array], message: str) -> None:
    given = linear_inputs(LinearCase(0, 2, 8, 12)) | {"residual": None, "columns": None, "column_weight": None}
    with pytest.raises(Exception, match=message):
        run(library, "Linear", given | changed)


BAD_ATTENTION = [
    ({"position": np.array([0, 9])}, "position: expected numbers below 4, found 9"),
    ({"position": np.array([-1])}, "position: expected numbers below 4, found -1"),
    ({"position": np.array([0, 1, 2])}, "position: expected 2 elements, found 3"),
    ({"key_mask": np.ones((2, 3), np.int32)}, "key_mask: expected 8 elements, found 6"),
    ({"x": np.zeros((2, 40), np.uint8)}, "x: expected 3 dimensions, found 2"),
]


@pytest.mark.parametrize(("changed", "message"), BAD_ATTENTION)
def test_shapes_of_attention_are_checked(library: Path, changed: dict[str, Array], message: str) -> None:
    given, _ = attention_inputs(AttentionCase(0, 2, 4, 2, 8))
    with pytest.raises(Exception, match=message):
        run(library, "AttentionFloat", given | changed, heads=2)


def test_heads_that_do_not_divide_the_outputs_are_an_error(library: Path) -> None:
    given, _ = attention_inputs(AttentionCase(0, 2, 4, 2, 8))
    with pytest.raises(Exception, match="queries, keys and values of 5 heads, found 48"):
        run(library, "AttentionFloat", given, heads=5)


def test_outlier_channels_are_checked(library: Path) -> None:
    x = np.zeros((2, 8), np.float32)
    given: dict[str, Array | None] = {"x": x, "gain": x[0], "bias": x[0], "channels": np.array([8])}
    with pytest.raises(Exception, match="channels: expected numbers from 0 to 7, found 8"):
        run(library, "NormQuantize", given, outputs=2, epsilon=1e-5, out_scale=0.1)


def test_an_instruction_set_can_be_forced(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Array | None] = {"x": np.ones((1, 8), np.float32)}
    monkeypatch.setenv("CLIPSHELF_KERNELS", "portable")
    (y,) = run(library, "Normalize", given)
    assert y[0, 0] == pytest.approx(8**-0.5)
    monkeypatch.setenv("CLIPSHELF_KERNELS", "mmx")
    with pytest.raises(Exception, match=r"CLIPSHELF_KERNELS: expected an instruction set that this CPU has .*'mmx'"):
        run(library, "Normalize", given)
