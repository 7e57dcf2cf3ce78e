"""Qwen3 reranking in LlamaIndex: `QwenRerank`."""

import llama_index.embeddings.qwen_retrieval  # noqa: F401 - says how to install LlamaIndex
from llama_index.postprocessor.qwen_retrieval.base import QwenRerank

__all__ = ["QwenRerank"]
