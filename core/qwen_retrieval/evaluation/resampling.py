"""How sure a mean over queries is: the bootstrap over queries, one draw shared by all settings.

The queries asked are a sample of those that could be. Drawing from them again, with replacement,
shows how much a mean would move with another sample (Efron 1979). As every setting answers the same
queries, all are averaged over the same draws: differences between settings are then paired, and
far surer than the settings' own intervals.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Values = NDArray[np.float64]

RESAMPLES = 10_000
SEED = 0
LEVEL = 0.95
"""Part of the resampled means that an interval holds."""

_AT_ONCE = 4_000_000
"""Draws in memory at a time; each is a number of eight bytes."""


def resampled_means(values: Values, *, resamples: int = RESAMPLES, seed: int = SEED) -> Values:
    """Return each setting's mean over each of many samples of the queries.

    Args:
        values: of shape (queries, settings).
        resamples: how many samples to draw, each as large as the first.
        seed: the same seed, queries and resamples give the same draws.

    Returns:
        Means of shape (resamples, settings).
    """
    queries = len(values)
    generator = np.random.default_rng(seed)
    part = max(1, _AT_ONCE // queries)
    means = []
    for start in range(0, resamples, part):
        # How often each query is drawn: cheaper than the draws, and a product does the rest.
        drawn = generator.multinomial(
            queries, np.full(queries, 1 / queries), size=min(part, resamples - start)
        )
        means.append(drawn @ values / queries)
    return np.concatenate(means)


def interval(means: Values, level: float = LEVEL) -> tuple[float, float]:
    """Return the percentile interval of one setting's resampled means, or of a difference's."""
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def probability_best(means: Values) -> Values:
    """Return for each setting the part of the samples in which it is best; ties are shared.

    Args:
        means: of shape (resamples, settings), as `resampled_means` returns them.
    """
    best = np.isclose(means, means.max(axis=1, keepdims=True), rtol=0, atol=1e-12)
    shares: Values = (best / best.sum(axis=1, keepdims=True)).mean(axis=0)
    return shares
