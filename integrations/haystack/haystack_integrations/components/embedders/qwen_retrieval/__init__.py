"""Embed queries and documents with Qwen3-Embedding in a Haystack pipeline."""

import haystack_integrations.common.qwen_retrieval  # noqa: F401 - says what to install

from .document_embedder import QwenDocumentEmbedder
from .text_embedder import QwenTextEmbedder

__all__ = ["QwenDocumentEmbedder", "QwenTextEmbedder"]
