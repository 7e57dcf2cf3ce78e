"""Settings beside each other: quality, costs, and what to make of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from qwen_retrieval.evaluation.recommend import (
    TOLERANCE,
    Lead,
    Recommendation,
    lead,
    pareto_front,
    recommend,
)
from qwen_retrieval.evaluation.resampling import interval, probability_best
from qwen_retrieval.evaluation.setting import Costs, Setting

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from qwen_retrieval.evaluation.books import Work
    from qwen_retrieval.evaluation.collection import Collection
    from qwen_retrieval.evaluation.resampling import Values

KEPT = 10
"""Places of each query's ranking that a comparison keeps, to be looked at."""


@dataclass(frozen=True, kw_only=True)  # no slots: what is derived is kept beside the fields
class Comparison:
    """The settings with their quality and costs, and what to make of them.

    Attributes:
        collection: what was searched.
        measure: the one that settings are compared by.
        settings: in the order tried.
        values: by measure, of shape (queries, settings).
        means: resampled means of `measure`, of shape (resamples, settings).
        costs: of each setting.
        kept: by setting, the `KEPT` best documents' places of each query, −1 where there are none.
        work: what was computed.
        seed: of the bootstrap.
    """

    collection: Collection
    measure: str
    settings: tuple[Setting, ...]
    values: dict[str, Values]
    means: Values = field(repr=False)
    costs: tuple[Costs, ...]
    kept: tuple[NDArray[np.int64], ...] = field(repr=False)
    work: tuple[Work, ...]
    seed: int

    @cached_property
    def quality(self) -> Values:
        """The mean of the chosen measure, of shape (settings,)."""
        means: Values = self.values[self.measure].mean(axis=0)
        return means

    @cached_property
    def intervals(self) -> list[tuple[float, float]]:
        """The 95 % bootstrap interval of each setting's quality."""
        return [interval(column) for column in self.means.T]

    @cached_property
    def front(self) -> list[bool]:
        """Whether each setting is on the Pareto front of quality, bytes and seconds."""
        return pareto_front(self.quality, self.costs)

    @cached_property
    def probabilities(self) -> list[float]:
        """In which part of the resamples each setting is the best of all."""
        return [float(each) for each in probability_best(self.means)]

    def recommend(
        self, budget: Costs | None = None, tolerance: float = TOLERANCE
    ) -> Recommendation:
        """Return the best setting that the budget allows, and how sure that is."""
        limits = Costs() if budget is None else budget
        values = self.values[self.measure]
        return recommend(values, self.means, self.costs, limits, tolerance)

    def lead(self, first: int, second: int) -> Lead:
        """Return how much better one setting is than another."""
        return lead(self.values[self.measure], self.means, first, second)

    @property
    def plain(self) -> int:
        """The place of what one would begin with: the first model in full, nothing reranked."""
        widest = max(
            each.dimensions for each in self.settings if each.model == self.settings[0].model
        )

        def departures(place: int) -> tuple[bool, ...]:
            each = self.settings[place]
            return (
                each.model != self.settings[0].model, each.depth > 0, each.dimensions != widest,
                each.precision != "float32", each.instruction != "default",
            )  # fmt: skip

        return min(range(len(self.settings)), key=departures)
