"""Rerank documents with Qwen3-Reranker in a Haystack pipeline."""

import haystack_integrations.common.qwen_retrieval  # noqa: F401 - says what to install

from .ranker import QwenRanker

__all__ = ["QwenRanker"]
