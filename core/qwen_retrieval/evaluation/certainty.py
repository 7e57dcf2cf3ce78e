"""How sure a mean over queries is, and a difference between two runs over the same queries."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from qwen_retrieval.evaluation.measures import PerQuery

LEVEL = 0.95
SEED = 20_250_605
"""Fixed, so that the same run gives the same interval."""
_RESAMPLES = 2_000
_PERMUTATIONS = 9_999
_BATCH = 200


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over queries with its 95 % bootstrap interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Difference:
    """One run's mean minus another's over the same queries.

    Attributes:
        mean: of the differences.
        low: end of its 95 % bootstrap interval.
        high: the other end.
        p: how often chance alone, swapping the two runs query by query, gives so large a
            difference (two-sided, Fisher's randomisation test).
    """

    mean: float
    low: float
    high: float
    p: float


def estimate(values: PerQuery) -> Estimate:
    """Return the mean of per-query values and how sure it is (percentile bootstrap)."""
    mean = float(values.mean())
    if len(values) < 2 or np.ptp(values) == 0:  # noqa: PLR2004 - nothing to draw from
        return Estimate(mean, mean, mean)
    found = stats.bootstrap(
        (values,),
        np.mean,
        confidence_level=LEVEL,
        n_resamples=_RESAMPLES,
        batch=_BATCH,
        method="percentile",
        rng=np.random.default_rng(SEED),
    ).confidence_interval
    return Estimate(mean, float(found.low), float(found.high))


def difference(better: PerQuery, than: PerQuery) -> Difference:
    """Return how much better the first run is, and whether that could be chance."""
    values = better - than
    interval = estimate(values)
    if len(values) < 2 or not values.any():  # noqa: PLR2004 - swapped or not, it is as large
        return Difference(interval.mean, interval.low, interval.high, 1.0)
    # Swapping the runs of a query turns its difference round.
    found = stats.permutation_test(
        (better, than),
        lambda a, b, axis: np.mean(a - b, axis=axis),
        permutation_type="samples",
        n_resamples=_PERMUTATIONS,
        batch=_BATCH,
        vectorized=True,
        rng=np.random.default_rng(SEED),
    )
    return Difference(interval.mean, interval.low, interval.high, float(found.pvalue))
