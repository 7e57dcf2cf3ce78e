"""Intervals and paired tests say what they should, the same each time."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from qwen_retrieval.evaluation.certainty import difference, estimate


def test_an_interval_is_the_same_each_time() -> None:
    """The seed is fixed."""
    values = np.random.default_rng(1).uniform(size=50)
    assert estimate(values) == estimate(values.copy())
    assert difference(values, values[::-1]) == difference(values, values[::-1])


def test_an_interval_has_the_width_of_the_standard_error() -> None:
    """For many values, the bootstrap agrees with the normal approximation."""
    values = np.random.default_rng(2).normal(size=2_000)
    found, error = estimate(values), values.std() / np.sqrt(len(values))
    assert found.mean == pytest.approx(values.mean())
    assert found.high - found.low == pytest.approx(2 * 1.96 * error, rel=0.1)


@pytest.mark.parametrize("values", [[0.5], [1.0, 1.0, 1.0]])
def test_what_does_not_vary_has_no_width(values: list[float]) -> None:
    """One query, or equal values, give the mean alone."""
    found = estimate(np.array(values))
    assert found.low == found.mean == found.high == values[0]


def test_few_queries_are_tested_exactly() -> None:
    """With eight queries, all 256 ways to swap the runs are counted."""
    better = np.array([0.9, 0.8, 0.7, 0.9, 1.0, 0.6, 0.8, 0.5])
    than = np.array([0.5, 0.9, 0.3, 0.2, 0.9, 0.1, 0.4, 0.4])
    gains = better - than
    swapped = [abs(np.dot(signs, gains)) for signs in product([1, -1], repeat=8)]
    exact = np.mean(np.array(swapped) >= abs(gains.sum()) - 1e-12)
    assert difference(better, than).p == pytest.approx(exact, abs=1e-9)


def test_equal_runs_do_not_differ() -> None:
    """No difference, and certainly none that is significant."""
    values = np.random.default_rng(3).uniform(size=20)
    assert difference(values, values).p == 1.0


def test_one_query_proves_nothing() -> None:
    """Whichever way round it is, the difference is as large: p is 1."""
    found = difference(np.array([0.9]), np.array([0.1]))
    assert (found.mean, found.p) == (pytest.approx(0.8), 1.0)


def test_noise_is_seldom_called_significant() -> None:
    """Of runs that differ by chance alone, about one in twenty has p below 0.05."""
    random = np.random.default_rng(4)
    pairs = random.normal(size=(60, 2, 30))
    significant = sum(difference(a, b).p < 0.05 for a, b in pairs)
    assert significant <= 8


def test_a_clear_gain_is_significant() -> None:
    """A gain in almost every query is not chance."""
    than = np.random.default_rng(5).uniform(size=100)
    found = difference(than + 0.1, than)
    assert found.p < 0.001
    assert found.low == pytest.approx(0.1)
