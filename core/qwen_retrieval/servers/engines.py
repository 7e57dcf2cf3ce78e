"""The engines by their names in the settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qwen_retrieval.errors import ServerUnsupportedError
from qwen_retrieval.servers import (
    dashscope,
    infinity,
    jina,
    llama_cpp,
    ollama,
    openai,
    sglang,
    tei,
    vllm,
)

if TYPE_CHECKING:
    from qwen_retrieval.servers.engine import EmbeddingEngine, RerankEngine
    from qwen_retrieval.settings import ModelSettings

EMBEDDING: dict[str, EmbeddingEngine] = {
    module.EMBEDDING.server: module.EMBEDDING
    for module in (vllm, tei, llama_cpp, sglang, ollama, infinity, dashscope, openai)
}
RERANK: dict[str, RerankEngine] = {
    module.RERANK.server: module.RERANK for module in (vllm, llama_cpp, sglang, dashscope, jina)
}


def embedding_engine(settings: ModelSettings) -> EmbeddingEngine:
    """Return the engine that embeds, or refuse one that cannot."""
    found = EMBEDDING.get(str(settings.server))
    if found is None:
        raise ServerUnsupportedError(
            f"server is {settings.server!r}, which does not embed; choose one of"
            f" {sorted(EMBEDDING)}."
        )
    return found


def rerank_engine(settings: ModelSettings) -> RerankEngine:
    """Return the engine that reranks, or refuse one that cannot with Qwen3 rerankers."""
    found = RERANK.get(str(settings.server))
    if found is None:
        raise ServerUnsupportedError(
            f"server is {settings.server!r}, which does not rerank with a Qwen3 reranker as its"
            f" prompt asks; choose one of {sorted(RERANK)}, or a local model."
        )
    return found
