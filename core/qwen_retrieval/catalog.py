"""The released models: what is known of each without loading it.

Source: the model cards of Qwen/Qwen3-Embedding-{0.6B,4B,8B} and Qwen/Qwen3-Reranker-{0.6B,4B,8B}.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

DEFAULT_INSTRUCTION = "Given a web search query, retrieve relevant passages that answer the query"
"""The task sentence that the model cards use for both stages."""

DEFAULT_EMBEDDER = "Qwen/Qwen3-Embedding-0.6B"
DEFAULT_RERANKER = "Qwen/Qwen3-Reranker-0.6B"

MIN_DIMENSIONS = 32
"""Smallest width of the released embedders' Matryoshka range."""

RERANKER_MAX_LENGTH = 8192
"""Tokens of a reranker prompt in the model card's code; longer ones can be asked for."""

RERANK_DEPTH = 100
"""Documents a query that were reranked for the models' published figures."""


@dataclass(frozen=True, slots=True)
class Released:
    """A released model: its kind, number of layers, width in dimensions, context in tokens."""

    kind: Literal["embedder", "reranker"]
    layers: int
    width: int
    context: int


RELEASED: dict[str, Released] = {
    "Qwen/Qwen3-Embedding-0.6B": Released("embedder", 28, 1024, 32_768),
    "Qwen/Qwen3-Embedding-4B": Released("embedder", 36, 2560, 40_960),
    "Qwen/Qwen3-Embedding-8B": Released("embedder", 36, 4096, 40_960),
    "Qwen/Qwen3-Reranker-0.6B": Released("reranker", 28, 1024, 40_960),
    "Qwen/Qwen3-Reranker-4B": Released("reranker", 36, 2560, 40_960),
    "Qwen/Qwen3-Reranker-8B": Released("reranker", 36, 4096, 40_960),
}
"""Hub ids, the same on ModelScope."""
