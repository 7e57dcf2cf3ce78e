"""Published values of released models, to compare a server with where no copy is at hand.

Sources: the model card of Qwen3-Embedding (QwenLM/Qwen3-Embedding at f4ad0c4, transformers) and the
tests of sentence-transformers at cad2119 (tests/cross_encoder/test_model.py, float32).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from qwen_retrieval.contract import Vectors

NEAR_SIMILARITY = 0.02
"""Between precisions and engines; the card's own vLLM figures differ by .0025."""
NEAR_PROBABILITY = 0.03


@dataclass(frozen=True, slots=True)
class Similarities:
    """Cosines of queries, with the default instruction, and documents."""

    queries: tuple[str, ...]
    documents: tuple[str, ...]
    values: Vectors


@dataclass(frozen=True, slots=True)
class Scores:
    """P("yes") of documents for a query, with the default instruction."""

    query: str
    documents: tuple[str, ...]
    values: Vectors


def similarities(model: str) -> Similarities | None:
    """Return what is known of an embedder."""
    return _SIMILARITIES.get(model)


def scores(model: str) -> Scores | None:
    """Return what is known of a reranker."""
    return _SCORES.get(model)


_SIMILARITIES = {
    "Qwen/Qwen3-Embedding-0.6B": Similarities(
        ("What is the capital of China?", "Explain gravity"),
        (
            "The capital of China is Beijing.",
            (
                "Gravity is a force that attracts two bodies towards each other. It gives weight to"
                " physical objects and is responsible for the movement of planets around the sun."
            ),
        ),
        np.array([[0.76456, 0.14143], [0.13550, 0.59995]], np.float32),
    )
}
_LOGITS = np.array([-3.109298, 7.120390, -0.378755, 3.541637])
_SCORES = {
    "Qwen/Qwen3-Reranker-0.6B": Scores(
        "Which planet is known as the Red Planet?",
        (
            "Venus is often called Earth's twin because of its similar size and proximity.",
            "Mars, known for its reddish appearance, is often referred to as the Red Planet.",
            "Jupiter, the largest planet in our solar system, has a prominent red spot.",
            "Saturn, famous for its rings, is sometimes mistaken for the Red Planet.",
        ),
        (1 / (1 + np.exp(-_LOGITS))).astype(np.float32),
    )
}
