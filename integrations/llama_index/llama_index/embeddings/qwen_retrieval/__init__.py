"""Qwen3 embeddings in LlamaIndex: `QwenEmbedding`."""

try:
    import llama_index.core  # noqa: F401 - asked for here to say how to install it
except ModuleNotFoundError as error:
    if error.name not in {"llama_index", "llama_index.core"}:
        raise
    raise ImportError(
        "llama-index-core is not installed; run: pip install 'qwen-retrieval[llama-index]'"
    ) from error

from llama_index.embeddings.qwen_retrieval.base import QwenEmbedding

__all__ = ["QwenEmbedding"]
