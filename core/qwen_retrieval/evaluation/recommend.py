"""Which setting to take for a budget, and how sure that is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from qwen_retrieval.errors import SettingsError
from qwen_retrieval.evaluation.resampling import LEVEL, interval, probability_best
from qwen_retrieval.evaluation.setting import Costs

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from qwen_retrieval.evaluation.resampling import Values

TOLERANCE = 0.01
"""Quality that one may give up for a cheaper setting."""


@dataclass(frozen=True, slots=True)
class Lead:
    """How much better one setting is than another, on the same queries.

    Attributes:
        mean: of the first less that of the second.
        low: lower end of the 95 % interval of the paired bootstrap.
        high: upper end.
        probability: part of the resamples in which the first is better, ties shared.
    """

    mean: float
    low: float
    high: float
    probability: float

    @property
    def is_clear(self) -> bool:
        """Whether the interval excludes no difference."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommendation:
    """What to take.

    Attributes:
        budget: what it had to keep to.
        affordable: how many settings do.
        best: place of the setting with the best mean among them; of equals the one with the
            smallest product of bytes and seconds.
        probability_best: part of the resamples in which it is the best of them.
        runner_up: place of the next best among them; None where there is no other.
        over_runner_up: how much better than that.
        not_worse: how many of the others cannot be told from it (their interval holds 0).
        unlimited: place of the best of all settings.
        price: how much better that is than `best`: what the budget costs.
        thrifty: place of the cheapest setting, by that product, that takes no more bytes and no
            more seconds than `best` and in 95 % of the resamples loses at most `tolerance` against
            it; it may be `best` itself.
        thrifty_loss: how much `best` is better than it.
        tolerance: quality that one may give up.
    """

    budget: Costs
    affordable: int
    best: int
    probability_best: float
    runner_up: int | None
    over_runner_up: Lead | None
    not_worse: int
    unlimited: int
    price: Lead
    thrifty: int
    thrifty_loss: Lead
    tolerance: float


def recommend(
    values: Values,
    means: Values,
    costs: Sequence[Costs],
    budget: Costs,
    tolerance: float = TOLERANCE,
) -> Recommendation:
    """Return the best setting that a budget allows.

    Args:
        values: quality of shape (queries, settings).
        means: their `resampled_means`.
        costs: of each setting.
        budget: upper limits; None is no limit.
        tolerance: quality that one may give up for a cheaper setting.

    Raises:
        SettingsError: no setting keeps to the budget; the message names the least that there is.
    """
    quality = values.mean(axis=0)
    affordable = [place for place, cost in enumerate(costs) if cost.within(budget)]
    if not affordable:
        raise SettingsError(
            f"no setting keeps to the budget ({budget}); the least that any costs is"
            f" {_least(costs, budget)}. Allow more, or add cheaper settings."
        )

    def by_quality(place: int) -> tuple[float, ...]:
        return -quality[place].round(12), *_price(costs[place])

    order = sorted(affordable, key=by_quality)
    best, unlimited = order[0], min(range(len(costs)), key=by_quality)
    runner_up = order[1] if len(order) > 1 else None

    def against(first: int, second: int) -> Lead:
        return lead(values, means, first, second)

    thrifty = min(
        (
            place
            for place in affordable
            if _costs_no_more(costs[place], costs[best])
            and np.mean(means[:, best] - means[:, place] <= tolerance) >= LEVEL
        ),
        key=lambda place: (*_price(costs[place]), *by_quality(place), place != best),
    )
    return Recommendation(
        budget=budget,
        affordable=len(affordable),
        best=best,
        probability_best=float(probability_best(means[:, order])[0]),
        runner_up=runner_up,
        over_runner_up=None if runner_up is None else against(best, runner_up),
        not_worse=sum(not against(best, place).is_clear for place in order[1:]),
        unlimited=unlimited,
        price=against(unlimited, best),
        thrifty=thrifty,
        thrifty_loss=against(best, thrifty),
        tolerance=tolerance,
    )


def lead(values: Values, means: Values, first: int, second: int) -> Lead:
    """Return how much better one setting is than another, with a paired bootstrap interval."""
    drawn = means[:, first] - means[:, second]
    low, high = interval(drawn)
    return Lead(
        mean=float((values[:, first] - values[:, second]).mean()),
        low=low,
        high=high,
        probability=float(probability_best(means[:, [first, second]])[0]),
    )


def pareto_front(quality: NDArray[np.float64], costs: Sequence[Costs]) -> list[bool]:
    """Say of each setting whether none is better without costing more.

    Costs here are bytes a document and seconds a query; what is unknown counts as more than
    anything known. A setting that another equals in all three is on the front beside it.
    """
    points = np.array(
        [
            (-value, *(np.inf if part is None else part for part in _parts(cost)))
            for value, cost in zip(quality, costs, strict=True)
        ]
    )
    at_most = (points[:, None] <= points[None]).all(axis=2)
    less = (points[:, None] < points[None]).any(axis=2)
    beaten = np.any(at_most & less, axis=0)
    return [not each for each in beaten]


def _parts(cost: Costs) -> tuple[float | None, float | None]:
    return cost.bytes_per_document, cost.seconds_per_query


def _price(cost: Costs) -> tuple[float, ...]:
    """Return what sorts settings by price, which no unit joins: by the product of the two costs.

    What is unknown counts as dear, whatever the rest may cost.
    """
    known = [part for part in _parts(cost) if part is not None]
    return (-len(known), float(np.prod(known)), *known)


def _costs_no_more(cost: Costs, than: Costs) -> bool:
    """Say whether neither bytes nor seconds are more; what is known of one alone may be more."""
    return all(
        mine == other if mine is None or other is None else mine <= other
        for mine, other in zip(_parts(cost), _parts(than), strict=True)
    )


def _least(costs: Sequence[Costs], budget: Costs) -> str:
    parts = []
    for name in Costs.__slots__:
        if getattr(budget, name) is not None:
            known = [each for cost in costs if (each := getattr(cost, name)) is not None]
            least = f"{min(known):.4g}" if known else "an unknown number of"
            parts.append(f"{least} {name.replace('_', ' ')}")
    return ", ".join(parts)
