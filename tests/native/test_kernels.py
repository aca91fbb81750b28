"""The kernels against NumPy, and every instruction set against the portable path, bit for bit."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np
import pytest
from kernel_cases import (
    ACTIVATIONS,
    DIGIT_BASE,
    EPSILON,
    AttentionCase,
    LinearCase,
    ScanCase,
    activate,
    pack_float_panels,
    round_to_uint8,
)
from kernel_runner import Array, Case, Result, compute, native_build

X86 = ("amx", "avx512vnni", "avxvnni", "avx2")
# instruction set, emulated CPU: the A53 has no dot products, the A76 has them
ARM = (("neon", "cortex-a53"), ("neon-dotprod", "cortex-a76"), ("portable", "cortex-a53"))

# Rows, inputs and outputs: single ones, tails of every kind, tiles of every height, and the largest of a ViT-B.
SHAPES = [
    (1, 1, 1),
    (2, 3, 5),
    (3, 4, 64),
    (5, 63, 65),
    (6, 64, 16),
    (7, 65, 17),
    (12, 512, 96),
    (13, 256, 100),
    (16, 128, 64),
    (17, 127, 130),
    (31, 100, 31),
    (32, 192, 33),
    (33, 68, 1),
    (50, 768, 192),
    (77, 129, 70),
    (197, 256, 48),
    (700, 70, 66),
    (4, 3072, 64),
]


def linear_cases() -> list[LinearCase]:
    cases = []
    for seed, shape in enumerate(SHAPES):
        cases.append(LinearCase(seed, *shape, exact=True))
        cases.append(LinearCase(seed, *shape, exact=True, extreme=True, zero=255))
        cases.append(LinearCase(seed, *shape, exact=True, zero=0))
        cases.append(LinearCase(seed, *shape, residual=True, columns=seed % 4))
        activation = ACTIVATIONS[seed % 4]
        cases.append(LinearCase(seed, *shape, activation=activation, rounded=True, columns=seed % 3))
        cases.append(LinearCase(seed, *shape, activation="silu", rounded=True, transforms=True, out_zero=seed % 256))
    return cases


# Batch, tokens, heads and head size.
ATTENTION_SHAPES = [
    (1, 1, 1, 1),
    (2, 3, 2, 5),
    (1, 12, 8, 64),
    (3, 16, 2, 16),
    (2, 17, 3, 24),
    (1, 50, 12, 64),
    (2, 77, 2, 33),
    (1, 97, 1, 80),
    (1, 197, 2, 63),
    (1, 600, 1, 64),
    (1, 700, 1, 20),
]


def attention_cases() -> list[AttentionCase]:
    cases = []
    for seed, shape in enumerate(ATTENTION_SHAPES):
        for causal in (False, True):
            for masked in (False, True):
                positions = (0, 1, shape[0])[(seed + causal) % 3]
                cases.append(AttentionCase(seed, *shape, causal, masked))
                cases.append(AttentionCase(seed, *shape, causal, masked, positions, rounded=True))
    return cases


def other_cases() -> list[Case]:
    random = np.random.default_rng(7)

    def normal(*shape: int) -> Array:
        return random.standard_normal(shape).astype(np.float32)

    cases = []
    for rows, width in ((1, 1), (3, 15), (2, 16), (5, 17), (4, 64), (3, 100), (50, 768), (700, 48)):
        x, gain, bias = normal(rows, width) * 3 + 1, normal(width), normal(width)
        channels = random.permutation(width)[:2].astype(np.int64)
        cases.append(Case("norm", [rows, width, 0, 0, 0], [x, gain, bias, None], [EPSILON, 1]))
        cases.append(Case("norm", [rows, width, 1, 99, len(channels)], [x, gain, bias, channels], [EPSILON, 0.02]))
        cases.append(Case("normalize", [rows, width], [x]))
    for seed, (rows, inputs, outputs) in enumerate(SHAPES[:-1]):
        x, weight = normal(rows, inputs), normal(inputs, outputs) / np.float32(np.sqrt(inputs))
        residual = normal(rows, outputs) if seed % 2 else None
        for half in (0, 1):
            panels = pack_float_panels(weight.astype(np.float16) if half else weight)
            shape = [rows, inputs, outputs, seed % 4, half]
            cases.append(Case("float_linear", shape, [x, panels, normal(outputs), residual]))
    specials = np.array([0, -0.0, 1e-30, -1e-30, 3e38, -3e38, np.inf, -np.inf, 88, -88, 64.5, -64.5], np.float32)
    sweep = np.concatenate([np.linspace(-100, 100, 4001, dtype=np.float32), normal(501), specials])
    return cases + [Case("function", [which], [sweep]) for which in range(4)]


def scan_cases() -> list[ScanCase]:
    shapes = ((1, 1), (1, 512), (2, 63), (3, 64), (5, 65), (9, 384), (64, 100))
    return [ScanCase(seed, *shape) for seed, shape in enumerate(shapes)]


def all_cases() -> list[Case]:
    linears, attentions, scans = linear_cases(), attention_cases(), scan_cases()
    described = [*(case.case() for case in linears), *(case.case() for case in attentions)]
    return [*described, *(case.case() for case in scans), *other_cases()]


def small_cases() -> list[Case]:
    """All but the largest, for emulators and sanitizers, which are slow."""
    cases = [case for case in all_cases() if all(n is None or n.size < 40_000 for n in case.arrays)]
    assert len(cases) > 100
    return cases


@functools.cache
def portable(*, small: bool = False) -> list[Result]:
    return compute(small_cases() if small else all_cases(), "portable")


def difference(case: Case, expected: Result, result: Result) -> str:
    """What differs between two results, "" for nothing."""
    for name in ("output", "outliers"):
        a, b = getattr(expected, name), getattr(result, name)
        if a.tobytes() != b.tobytes():
            return f"{case.operator} {list(case.integers)}: {name} differ at {np.flatnonzero(a != b)[:10]}"
    return ""


def assert_same(cases: Sequence[Case], expected: Sequence[Result], results: Sequence[Result]) -> None:
    differences = filter(None, map(difference, cases, expected, results))
    assert list(differences) == []


@pytest.mark.parametrize("instruction_set", X86)
@pytest.mark.parametrize("threads", [1, 3])
def test_every_instruction_set_and_number_of_threads_gives_the_same_bits(instruction_set: str, threads: int) -> None:
    assert_same(all_cases(), portable(), compute(all_cases(), instruction_set, threads=threads))


def test_clang_gives_the_same_bits() -> None:
    for instruction_set in ("portable", *X86):
        try:
            results = compute(all_cases(), instruction_set, build=native_build(compiler="clang"))
        except pytest.skip.Exception:
            if instruction_set == "portable":
                raise
            continue
        assert_same(all_cases(), portable(), results)


@pytest.mark.parametrize(("instruction_set", "cpu"), ARM)
def test_an_emulated_arm_cpu_gives_the_same_bits(instruction_set: str, cpu: str) -> None:
    assert_same(small_cases(), portable(small=True), compute(small_cases(), instruction_set, cpu=cpu))


def test_integer_sums_are_exact() -> None:
    cases = [case for case in linear_cases() if case.exact]
    for case, result in zip(cases, compute([case.case() for case in cases], "portable"), strict=True):
        np.testing.assert_array_equal(result.output, case.sums().astype(np.float32).ravel(), str(case.rows))


def test_the_sums_of_a_scan_are_exact_and_its_upper_bounds_are_rounded_as_said() -> None:
    cases = scan_cases()
    for case, result in zip(cases, compute([case.case() for case in cases], "portable"), strict=True):
        sums, reached = case.sums(), np.arange(case.queries) % 2 == 0
        np.testing.assert_array_equal(result.outliers[: case.queries], reached)
        assert result.outliers[case.queries] == 1
        np.testing.assert_array_equal(result.outliers[case.queries + 1 :], sums.ravel())
        joined = (DIGIT_BASE * sums[:, 0] + sums[:, 1]).astype(np.float32)  # one rounding, as these sums fit float32
        uppers = (joined + case.a["errors"][:, None]) * case.a["steps"] * reached[:, None]
        np.testing.assert_array_equal(result.output, uppers.ravel())


def test_linears_are_those_of_numpy() -> None:
    cases = [case for case in linear_cases() if not case.exact]
    for case, result in zip(cases, compute([case.case() for case in cases], "portable"), strict=True):
        expected = case.expected()
        if not case.rounded:
            np.testing.assert_allclose(result.output, expected.ravel(), rtol=1e-5, atol=1e-5)
            continue
        assert_rounded(result, expected, case.out_scale, case.out_zero)
        channels = case.a["channels"]
        if channels is not None:
            np.testing.assert_allclose(result.outliers, expected[:, channels].ravel(), rtol=1e-5, atol=1e-5)


def assert_rounded(result: Result, expected: Array, scale: float, zero: int) -> None:
    """The uint8 output is the nearest, but where float32 and float64 lie on two sides of a half."""
    wrong = result.output != round_to_uint8(expected, scale, zero).ravel()
    halves = np.abs((expected.ravel() / np.float32(scale)) % 1 - 0.5)
    assert not np.any(wrong & (halves > 1e-3)), np.flatnonzero(wrong & (halves > 1e-3))


def test_attention_is_that_of_numpy() -> None:
    cases = attention_cases()
    for case, result in zip(cases, compute([case.case() for case in cases], "portable"), strict=True):
        expected = case.expected()
        if case.rounded:
            assert_rounded(result, expected, case.out_scale, case.out_zero)
        else:
            np.testing.assert_allclose(result.output, expected.ravel(), rtol=2e-5, atol=2e-5)


def test_norms_and_float_linears_are_those_of_numpy() -> None:
    cases = [case for case in other_cases() if case.operator != "function"]
    for case, result in zip(cases, compute(cases, "portable"), strict=True):
        expected = expected_of(case)
        if case.operator == "norm" and case.integers[2]:
            assert_rounded(result, expected, case.floats[1], case.integers[3])
            channels = case.arrays[3]
            assert channels is not None
            np.testing.assert_allclose(result.outliers, expected[:, channels].ravel(), rtol=1e-4, atol=1e-5)
        else:
            np.testing.assert_allclose(result.output, expected.ravel(), rtol=1e-4, atol=1e-5)


def expected_of(case: Case) -> Array:
    """The output of a norm, a float linear or Normalize before rounding, in float64."""
    x, *others = (None if array is None else array.astype(np.float64) for array in case.arrays)
    assert x is not None
    if case.operator == "normalize":
        return np.asarray(x / np.linalg.norm(x, axis=1, keepdims=True))
    if case.operator == "norm":
        gain, bias, _ = others
        centred = x - x.mean(1, keepdims=True)
        return np.asarray(centred / np.sqrt((centred**2).mean(1, keepdims=True) + EPSILON) * gain + bias)
    panels, bias, residual = others
    assert panels is not None and bias is not None
    weight = panels.transpose(1, 0, 2).reshape(x.shape[1], -1)[:, : len(bias)]
    return activate(ACTIVATIONS[case.integers[3]], x @ weight + bias + (0 if residual is None else residual))


def test_a_row_of_zeros_has_no_direction_and_stays() -> None:
    (result,) = compute([Case("normalize", [1, 20], [np.zeros((1, 20), np.float32)])], "portable")
    assert not result.output.any()


def test_exp_is_within_two_units_in_the_last_place() -> None:
    x = np.linspace(-64, 88, 200_001, dtype=np.float32)
    (result,) = compute([Case("function", [0], [x])], "portable")
    expected = np.exp(x.astype(np.float64))
    units = np.abs(result.output - expected) / np.spacing(expected.astype(np.float32))
    assert units.max() <= 2


@pytest.mark.parametrize("activation", ACTIVATIONS[1:])
def test_activations_are_within_their_bounds(activation: str) -> None:
    x = np.linspace(-30, 30, 100_001, dtype=np.float32)
    (result,) = compute([Case("function", [ACTIVATIONS.index(activation)], [x])], "portable")
    expected = activate(activation, x.astype(np.float64))
    # A few roundings; and in gelu_tanh the rounding of e's argument, which e^ makes a relative error of the result. The
    # formula of erf adds an absolute error of 1.5e-7 / 2 times |x|.
    bound = 4e-7 * np.abs(expected) + 1e-9
    if activation == "gelu_tanh":
        bound += 2.0**-23 * np.abs(1.596 * (x + 0.044715 * x.astype(np.float64) ** 3)) * np.abs(expected)
    if activation == "gelu":
        bound += 1e-7 * np.abs(x)
    assert np.all(np.abs(result.output - expected) <= bound)


def test_what_is_no_number_is_rounded_to_zero_and_what_is_too_large_to_the_bounds() -> None:
    x = np.array([[np.nan, np.inf, -np.inf, 1e30, -1e30, 0.0, 1.0, -1.0]], np.float32).T
    case = LinearCase(0, 8, 4, 1, rounded=True, exact=True, zero=0, out_scale=1.0, out_zero=7)
    case.a["x"], case.a["residual"] = np.zeros((8, 4), np.uint8), x
    for instruction_set in ("portable", *X86):
        try:
            (result,) = compute([case.case()], instruction_set)
        except pytest.skip.Exception:
            continue
        np.testing.assert_array_equal(result.output, [0, 255, 0, 255, 0, 7, 8, 6])


@pytest.mark.parametrize("causal", [False, True])
def test_attention_depends_neither_on_the_batch_nor_on_padding(causal: bool) -> None:
    batch = AttentionCase(3, 4, 37, 2, 24, causal=causal, masked=True)
    (together,) = compute([batch.case()], "portable")
    rows = together.output.reshape(4, 37, 48)
    for b, length in enumerate(batch.lengths):
        alone = dataclasses.replace(batch, batch=1, tokens=int(length), masked=False)
        alone.packed = batch.packed[b : b + 1, :length]
        (result,) = compute([alone.case()], "portable")
        assert result.output.tobytes() == rows[b, :length].tobytes()


def test_linears_do_not_depend_on_the_batch() -> None:
    case = LinearCase(5, 50, 130, 70, activation="gelu", residual=True)
    (together,) = compute([case.case()], "portable")
    x, residual = case.a["x"], case.a["residual"]
    assert x is not None and residual is not None
    alone = dataclasses.replace(case, rows=1)
    alone.a |= {name: case.a[name] for name in ("weight", "scale", "bias")}
    alone.a |= {"x": x[33:34], "residual": residual[33:34]}
    (result,) = compute([alone.case()], "portable")
    assert result.output.tobytes() == together.output.reshape(50, 70)[33].tobytes()


@pytest.mark.parametrize("sanitizers", ["address,undefined", "thread"])
@pytest.mark.parametrize("instruction_set", ["portable", *X86])
def test_sanitizers_find_nothing(sanitizers: str, instruction_set: str) -> None:
    threads = 3 if sanitizers == "thread" else 1
    results = compute(small_cases(), instruction_set, threads=threads, build=native_build(sanitizers))
    assert_same(small_cases(), portable(small=True), results)
