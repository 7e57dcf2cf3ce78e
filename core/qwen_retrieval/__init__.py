"""Qwen3 embedding and reranking, right by default, behind one small contract.

Importing this package loads neither torch nor a framework; opening a model loads nothing until its
first call.
"""

from qwen_retrieval.contract import Embedder, Ranked, Reranker
from qwen_retrieval.factory import open_embedder, open_reranker
from qwen_retrieval.settings import EmbedderSettings, RerankerSettings

__all__ = [
    "Embedder",
    "EmbedderSettings",
    "Ranked",
    "Reranker",
    "RerankerSettings",
    "open_embedder",
    "open_reranker",
]
