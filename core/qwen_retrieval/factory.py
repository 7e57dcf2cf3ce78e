"""The one place where settings become a model."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder, SentenceTransformer

    from qwen_retrieval.contract import Embedder, Reranker
    from qwen_retrieval.settings import EmbedderSettings, RerankerSettings


def open_embedder(
    settings: EmbedderSettings,
    *,
    token: str | None = None,
    loaded: SentenceTransformer | None = None,
) -> Embedder:
    """Return an embedder for the settings; nothing is loaded before its first call.

    Embedders with the same model, revision, device, dtype and attention share their weights.

    Args:
        settings: what to open.
        token: for private repositories; never stored, printed or serialised.
        loaded: a sentence-transformers model to use instead of loading ``settings.model``.
    """
    from qwen_retrieval.local.embedder import LocalEmbedder  # noqa: PLC0415 - loads torch later

    return LocalEmbedder(settings, token=token, loaded=loaded)


def open_reranker(
    settings: RerankerSettings,
    *,
    token: str | None = None,
    loaded: CrossEncoder | None = None,
) -> Reranker:
    """Return a reranker for the settings; nothing is loaded before its first call.

    Args:
        settings: what to open.
        token: for private repositories; never stored, printed or serialised.
        loaded: a sentence-transformers CrossEncoder to use instead of loading ``settings.model``.
    """
    from qwen_retrieval.local.reranker import LocalReranker  # noqa: PLC0415 - loads torch later

    return LocalReranker(settings, token=token, loaded=loaded)
