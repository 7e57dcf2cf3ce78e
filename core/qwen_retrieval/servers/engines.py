"""The engines by their names in the settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qwen_retrieval.errors import ServerUnsupportedError
from qwen_retrieval.servers import vllm

if TYPE_CHECKING:
    from qwen_retrieval.servers.engine import EmbeddingEngine, RerankEngine
    from qwen_retrieval.settings import ModelSettings

EMBEDDING: dict[str, EmbeddingEngine] = {e.server: e for e in (vllm.EMBEDDING,)}
RERANK: dict[str, RerankEngine] = {e.server: e for e in (vllm.RERANK,)}


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
