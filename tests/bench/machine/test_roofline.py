from __future__ import annotations

from clipshelf_bench.machine.roofline import Work, count_macs, count_weights


def test_products_count_packed_weights_by_the_output() -> None:
    assert count_macs("MatMulIntegerToFloat", [[1, 50, 768]], [1, 50, 3072]) == 50 * 768 * 3072
    assert count_weights("MatMulIntegerToFloat", [[1, 50, 768]], [1, 50, 3072]) == 768 * 3072


def test_products_of_activations_have_no_weights() -> None:
    shapes = [[1, 12, 50, 64], [1, 12, 64, 50]]
    assert count_macs("FusedMatMul", shapes, [1, 12, 50, 50]) == 12 * 50 * 64 * 50
    assert count_weights("FusedMatMul", shapes, [1, 12, 50, 50]) == 0


def test_attention_and_convolution() -> None:
    assert count_macs("MultiHeadAttention", [[2, 50, 768]] * 3, [2, 50, 768]) == 2 * 2 * 50 * 50 * 768
    assert count_macs("QAttention", [[2, 50, 768]], [2, 50, 768]) == 2 * 50 * 768 * (3 * 768 + 2 * 50)
    assert count_weights("QAttention", [[2, 50, 768]], [2, 50, 768]) == 3 * 768 * 768
    assert count_macs("Conv", [[1, 3, 224, 224], [768, 3, 32, 32]], [1, 768, 7, 7]) == 768 * 49 * 3 * 32 * 32
    assert count_macs("Softmax", [[1, 50, 50]], [1, 50, 50]) == 0


def test_bound_is_work_over_peak() -> None:
    work = Work(int8_macs=4e9, fp32_macs=1e8, weight_bytes=85_000_000, operator_ms={})
    compute, memory = work.bound_ms({"int8_gmacs": 1000, "fp32_gmacs": 100, "read_gbs": 20})
    assert (compute, memory) == (5.0, 4.25)
