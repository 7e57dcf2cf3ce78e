"""The bootstrap over queries."""

from __future__ import annotations

import numpy as np
import pytest

from qwen_retrieval.evaluation import resampling
from qwen_retrieval.evaluation.resampling import interval, probability_best, resampled_means

VALUES = np.random.default_rng(5).random((80, 3))


def test_one_seed_gives_one_result() -> None:
    """Means are the same again with the same seed, and others with another."""
    again = resampled_means(VALUES, resamples=500, seed=1)
    assert np.array_equal(resampled_means(VALUES, resamples=500, seed=1), again)
    assert not np.array_equal(resampled_means(VALUES, resamples=500, seed=2), again)
    assert again.shape == (500, 3)


def test_spread_is_that_of_a_mean() -> None:
    """Resampled means scatter about the mean by the standard error."""
    means = resampled_means(VALUES, resamples=4_000)
    assert np.allclose(means.mean(axis=0), VALUES.mean(axis=0), atol=3e-3)
    assert np.allclose(means.std(axis=0), VALUES.std(axis=0) / np.sqrt(80), rtol=0.06)


def test_settings_share_the_draws() -> None:
    """A constant difference stays constant in every sample: comparisons are paired."""
    means = resampled_means(np.stack([VALUES[:, 0], VALUES[:, 0] + 0.25], axis=1))
    assert np.allclose(means[:, 1] - means[:, 0], 0.25)


def test_drawing_in_parts_draws_as_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where memory takes only a few draws at a time, the number of samples stays."""
    monkeypatch.setattr(resampling, "_AT_ONCE", 250)
    assert resampled_means(VALUES, resamples=10).shape == (10, 3)


def test_interval_holds_the_middle() -> None:
    """A 95 % interval leaves 2.5 % on either side."""
    assert interval(np.arange(1001.0)) == pytest.approx((25, 975))


def test_ties_for_the_best_are_shared() -> None:
    """Two settings that are equal in every sample have half a chance each."""
    means = np.array([[0.5, 0.5, 0.1], [0.6, 0.6, 0.2], [0.1, 0.1, 0.9], [0.2, 0.2, 0.8]])
    assert probability_best(means).tolist() == [0.25, 0.25, 0.5]
