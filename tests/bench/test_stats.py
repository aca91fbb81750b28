from __future__ import annotations

import numpy as np
import pytest
from clipshelf_bench.stats import bootstrap_interval, fidelity, growth_exponent, ratio, recall, summarise


def test_summary_is_over_all_runs() -> None:
    result = summarise([[1, 2, 3], [4, 5]])
    assert (result.p50, result.runs) == (3, 5)
    assert result.p50 < result.p95 < result.p99 <= 5


def test_ratio_of_steady_times_is_certain() -> None:
    result = ratio([[1.0, 1.0]] * 9, [[2.0, 2.0]] * 9)
    assert (result.value, result.low, result.high) == (0.5, 0.5, 0.5)


def test_a_drift_that_both_share_cancels() -> None:
    drift = [[float(i)] * 3 for i in range(1, 20)]
    result = ratio(drift, [[2 * t for t in r] for r in drift])
    assert result.low == result.high == pytest.approx(0.5)


def test_noise_widens_the_interval_around_the_ratio() -> None:
    rng = np.random.default_rng(0)
    noisy = [rng.normal(1, 0.2, 5).tolist() for _ in range(9)]
    result = ratio(noisy, [[2.0]] * 9)
    assert result.low < result.value < result.high
    assert 0.4 < result.low < result.high < 0.6


def test_ratio_needs_the_same_rounds() -> None:
    with pytest.raises(ValueError, match="as many rounds"):
        ratio([[1.0]], [[1.0], [2.0]])


def test_fidelity_of_the_same_is_one_and_centring_sees_more() -> None:
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((40, 16)).astype(np.float32) + 4
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    same = fidelity(rows, rows)
    assert same.cosine == pytest.approx(1)
    assert same.overlap == 1
    noisy = rows + rng.normal(0, 0.05, rows.shape).astype(np.float32)
    worse = fidelity(rows, noisy)
    assert worse.centred < worse.cosine < 1
    assert worse.overlap is not None
    assert worse.overlap < 1


def test_fidelity_of_few_rows_has_no_overlap() -> None:
    rows = np.eye(4, dtype=np.float32)
    assert fidelity(rows, rows).overlap is None
    with pytest.raises(ValueError, match="expected embeddings"):
        fidelity(rows, rows[:2])


def test_recall_counts_shared_rows_in_any_order() -> None:
    assert recall(np.array([[1, 2], [3, 4]]), np.array([[2, 1], [3, 9]])) == 0.75


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
def test_exponent_of_a_power_law(power: float) -> None:
    sizes = [10, 100, 1000]
    assert growth_exponent(sizes, [3 * size**power for size in sizes]) == pytest.approx(power)


def test_interval_of_a_mean_is_around_it() -> None:
    values = np.array([0.0, 1.0] * 50)
    low, high = bootstrap_interval(values)
    assert 0.35 < low < 0.5 < high < 0.65
    assert bootstrap_interval(np.ones(5)) == (1.0, 1.0)
