"""From scores to an order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from qwen_retrieval.contract import Ranked

if TYPE_CHECKING:
    from qwen_retrieval.contract import Vectors


def rank(scores: Vectors, top_n: int | None, score_threshold: float | None) -> list[Ranked]:
    """Return places and scores, best first; ties keep the input order.

    Args:
        scores: of shape (n,).
        top_n: how many at most; None all, 0 none.
        score_threshold: what scores below is dropped; None keeps all.
    """
    order = np.argsort(-scores, kind="stable")
    ranked = [Ranked(int(place), float(scores[place])) for place in order]
    if score_threshold is not None:
        ranked = [each for each in ranked if each.score >= score_threshold]
    return ranked[:top_n]
