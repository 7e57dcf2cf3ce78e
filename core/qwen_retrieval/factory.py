"""The one place where settings become a model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qwen_retrieval.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable

    from sentence_transformers import CrossEncoder, SentenceTransformer

    from qwen_retrieval.contract import Embedder, Reranker
    from qwen_retrieval.settings import EmbedderSettings, ModelSettings, RerankerSettings


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
        token: for private repositories, or the server's key, which is else looked for in the
            environment; never stored, printed or serialised.
        loaded: a sentence-transformers model to use instead of loading ``settings.model``.
    """
    if settings.server is not None:
        _refuse_loaded(settings, loaded)
        from qwen_retrieval.servers.embedder import ServerEmbedder  # noqa: PLC0415 - only if asked

        return ServerEmbedder(settings, token=token, check=_check(settings))
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
        token: for private repositories, or the server's key, which is else looked for in the
            environment; never stored, printed or serialised.
        loaded: a sentence-transformers CrossEncoder to use instead of loading ``settings.model``.
    """
    if settings.server is not None:
        _refuse_loaded(settings, loaded)
        from qwen_retrieval.servers.reranker import ServerReranker  # noqa: PLC0415 - only if asked

        return ServerReranker(settings, token=token, check=_check(settings))
    from qwen_retrieval.local.reranker import LocalReranker  # noqa: PLC0415 - loads torch later

    return LocalReranker(settings, token=token, loaded=loaded)


def _refuse_loaded(settings: ModelSettings, loaded: object) -> None:
    if loaded is not None:
        raise SettingsError(
            f"server is {settings.server!r}, but a model already loaded computes in this process;"
            " leave one of the two out."
        )


def _check(settings: ModelSettings) -> Callable[[Any, str | None], None] | None:
    if not settings.check_server:
        return None
    from qwen_retrieval.doctor.examine import require_right  # noqa: PLC0415 - only if asked

    return require_right
