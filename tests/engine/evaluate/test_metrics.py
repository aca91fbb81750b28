"""The metrics, worked out by hand."""

import numpy as np
from clipshelf.evaluate.bootstrap import (
    centred_estimate,
    percentile_estimate,
    resampled_coverage,
    resampled_means,
    resamples,
)
from clipshelf.evaluate.metrics import coverage, padded, self_information, session_metrics


def test_metrics_of_three_sessions() -> None:
    ranked = padded([[4, 2, 7], [1, 0, 3], []])
    targets = padded([[2], [0, 3, 5, 6], [1]])
    information = np.arange(8, dtype=float)
    recall, ndcg, mrr, novelty = session_metrics(ranked, targets, information, 3).T
    second, third = 1 / np.log2(3), 1 / np.log2(4)
    np.testing.assert_allclose(recall, [1, 0.5, 0])
    np.testing.assert_allclose(ndcg, [second, (second + third) / (1 + second + third), 0])
    np.testing.assert_allclose(mrr, [0.5, 0.5, 0])
    np.testing.assert_allclose(novelty, [13 / 3, 4 / 3, 0])
    assert coverage(ranked, 8) == 6 / 8


def test_a_perfect_list_has_an_ndcg_of_one_though_it_is_shorter_than_the_targets() -> None:
    values = session_metrics(padded([[3, 1]]), padded([[1, 2, 3]]), np.zeros(4), 2)
    np.testing.assert_allclose(values, [[2 / 3, 1, 1, 0]])


def test_a_rare_product_carries_more_bits() -> None:
    np.testing.assert_allclose(self_information(np.array([3.0, 1.0, 0.0, 0.0])), [1, 2, 3, 3])


def test_resampled_means_have_the_spread_of_a_mean() -> None:
    values = np.random.default_rng(1).normal(2, 3, (400, 1))
    samples = resampled_means(values, resamples(400, seed=0))
    assert samples.shape == (1000, 1)
    assert abs(samples.std() - values.std() / 20) < 0.01
    estimate = percentile_estimate(float(values.mean()), samples[:, 0])
    assert abs((estimate.high - estimate.low) / (2 * 1.96 * values.std() / 20) - 1) < 0.1
    assert estimate.low < estimate.value < estimate.high


def test_an_interval_of_coverage_lies_around_it() -> None:
    ranked = np.random.default_rng(2).integers(0, 1000, (200, 5))
    draws = resamples(200, seed=0, count=200)
    samples = resampled_coverage(ranked, draws, 1000)
    value = coverage(ranked, 1000)
    assert samples.max() < value  # each resample leaves sessions out
    estimate = centred_estimate(value, samples)
    assert estimate.low < value < estimate.high
