"""What rankings are worth, query by query, by ir-measures: the same values as trec_eval's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import ir_measures
import numpy as np
from ir_measures import AP, RR, R, nDCG
from numpy.typing import NDArray

from qwen_retrieval.evaluation.search import Ranking

MAIN = "nDCG@10"
_MEASURES = {
    "nDCG@10": nDCG @ 10,
    "R@10": R @ 10,
    "R@100": R @ 100,
    "RR@10": RR @ 10,
    "AP@100": AP @ 100,
}
MEASURES = tuple(_MEASURES)

PerQuery = NDArray[np.float64]


def measure(ranking: Ranking, judgements: Sequence[Mapping[int, int]]) -> dict[str, PerQuery]:
    """Return each measure's value for each query, in the order of the ranking.

    Gains are linear, unjudged documents count as not relevant, and the order is that of the
    ranking: ties keep it, where trec_eval would break them by id.
    """
    qrels = {
        str(query): {str(place): grade for place, grade in judged.items()}
        for query, judged in enumerate(judgements)
    }
    run = {
        str(query): {str(place): -float(rank) for rank, place in enumerate(places) if place >= 0}
        for query, places in enumerate(ranking.places.tolist())
    }
    values = {name: np.zeros(len(judgements)) for name in MEASURES}
    names = {each: name for name, each in _MEASURES.items()}
    for found in ir_measures.iter_calc(list(names), qrels, run):
        values[names[found.measure]][int(found.query_id)] = found.value
    return values
