"""The Pareto front, and what is recommended for a budget."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qwen_retrieval.errors import SettingsError
from qwen_retrieval.evaluation.recommend import Recommendation, pareto_front, recommend
from qwen_retrieval.evaluation.resampling import resampled_means
from qwen_retrieval.evaluation.setting import Costs

EASY = np.linspace(0, 1, 200)
POINTS = st.tuples(st.integers(0, 4), st.integers(1, 4), st.integers(1, 4))


def cost(size: float, seconds: float = 1.0) -> Costs:
    """Costs without known tokens, as of a model on a server."""
    return Costs(bytes_per_document=size, seconds_per_query=seconds)


def advised(columns: list[np.ndarray], costs: list[Costs], **options: object) -> Recommendation:
    """What is recommended for values given column by column."""
    values = np.stack(columns, axis=1)
    budget = options.pop("budget", Costs())
    return recommend(values, resampled_means(values, resamples=2000), costs, budget, **options)


@given(points=st.lists(POINTS, min_size=1, max_size=12))
def test_front_holds_what_nothing_beats(points: list[tuple[int, int, int]]) -> None:
    """On it is exactly what no other is at least as good as in all and better than in one."""
    found = pareto_front(
        np.array([float(quality) for quality, _, _ in points]),
        [cost(size, seconds) for _, size, seconds in points],
    )
    for mine, on_front in zip(points, found, strict=True):
        beaten = any(
            other[0] >= mine[0] and other[1] <= mine[1] and other[2] <= mine[2] and other != mine
            for other in points
        )
        assert on_front is not beaten


def test_best_that_the_budget_allows() -> None:
    """A better setting that costs too much is only named, with what the budget costs."""
    found = advised(
        [EASY, EASY + 0.1, EASY + 0.3], [cost(10), cost(20), cost(30)],
        budget=Costs(bytes_per_document=20),
    )  # fmt: skip
    assert (found.best, found.runner_up, found.unlimited, found.affordable) == (1, 0, 2, 2)
    assert found.probability_best == 1
    assert found.price.mean == pytest.approx(0.2)
    assert found.over_runner_up is not None
    assert found.over_runner_up.is_clear
    assert found.not_worse == 0


def test_of_equals_the_cheapest() -> None:
    """Settings that find the same are told apart by their price, and share the probability."""
    found = advised([EASY, EASY, EASY], [cost(30), cost(10), cost(20)])
    assert found.best == 1
    assert found.probability_best == pytest.approx(1 / 3)
    assert found.not_worse == 2


def test_of_equals_neither_cost_alone_decides() -> None:
    """A byte less is not worth two thousand times the time, nor is a second any size."""
    found = advised([EASY, EASY, EASY], [cost(10, 200.0), cost(11, 0.1), cost(9000, 0.09)])
    assert found.best == found.unlimited == 1
    unknown = Costs(bytes_per_document=1)
    assert advised([EASY, EASY], [unknown, cost(10)]).best == 1


def test_close_rivals_are_counted_as_such() -> None:
    """Noise on the queries makes the best uncertain, and the numbers say so."""
    noise = np.tile([0.3, -0.3], 100)  # which leaves the mean alone
    found = advised([EASY + 0.01, EASY + noise], [cost(10), cost(10)])
    assert 0.5 < found.probability_best < 0.95
    assert found.not_worse == 1


def test_cheaper_setting_within_the_tolerance() -> None:
    """The cheapest that surely loses less is named; with no tolerance it is the best itself."""
    columns = [EASY + 0.3, EASY + 0.295, EASY]
    costs = [cost(1000), cost(10), cost(1)]
    assert advised(columns, costs, tolerance=0.01).thrifty == 1
    assert advised(columns, costs, tolerance=0.0).thrifty == 0
    assert advised(columns, costs, tolerance=0.5).thrifty == 2


def test_what_takes_longer_is_not_cheaper() -> None:
    """A small index that is slow to ask, or the other way round, is no cheaper setting."""
    columns = [EASY + 0.3, EASY + 0.295, EASY + 0.295, EASY + 0.295]
    costs = [cost(1000, 1.0), cost(10, 2000.0), cost(2000, 0.001), cost(999, 0.9)]
    assert advised(columns, costs, tolerance=0.01).thrifty == 3
    costs[3] = Costs(bytes_per_document=1)
    assert advised(columns, costs, tolerance=0.01).thrifty == 0, "its seconds are not known"
    unknown = [Costs(bytes_per_document=size) for size in (4, 3, 2, 1)]
    assert advised(columns, unknown, tolerance=0.01).thrifty == 3


def test_budget_that_nothing_keeps_to() -> None:
    """The error names the least that there is."""
    with pytest.raises(SettingsError, match=r"bytes per document ≤ 5.* least .* is 10 bytes"):
        advised([EASY, EASY], [cost(10), cost(20)], budget=Costs(bytes_per_document=5))


def test_budget_that_nothing_keeps_to_and_costs_that_nobody_knows() -> None:
    """What is unknown of all is called so, and what is known of some counts."""
    budget = Costs(bytes_per_document=1, tokens_per_query=5)
    sentence = "is 10 bytes per document, an unknown number of tokens per query"
    with pytest.raises(SettingsError, match=sentence):
        advised([EASY], [cost(10)], budget=budget)
    counted = Costs(bytes_per_document=20, tokens_per_query=7)
    with pytest.raises(SettingsError, match="10 bytes per document, 7 tokens per query"):
        advised([EASY, EASY], [cost(10), counted], budget=budget)


def test_budget_for_what_is_not_known() -> None:
    """Tokens cannot be limited where nobody counts them."""
    with pytest.raises(SettingsError, match=r"tokens_per_query to 5.* limit seconds instead"):
        advised([EASY], [cost(10)], budget=Costs(tokens_per_query=5))
