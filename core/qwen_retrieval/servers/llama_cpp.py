"""llama.cpp's llama-server: embeds token ids; reranks pairs by the prompt in the model's file."""

from __future__ import annotations

from functools import partial
from typing import Any

from qwen_retrieval.servers.engine import (
    EmbeddingEngine,
    Request,
    RerankEngine,
    Served,
    documents_request,
    embeddings_request,
)


def _props(answer: Any) -> list[Served]:  # noqa: ANN401 - JSON
    name = answer.get("model_alias") or answer["model_path"]
    context = answer["default_generation_settings"].get("n_ctx")
    # A sequence as long as the context is refused: one place is kept for a next token.
    return [Served(str(name), context=None if context is None else context - 1)]


EMBEDDING = EmbeddingEngine(
    server="llama_cpp",
    title="llama-server",
    takes_ids=True,
    listing=Request("/props"),
    read_listing=_props,
    request=partial(embeddings_request, "/v1/embeddings"),
)
RERANK = RerankEngine(
    server="llama_cpp",
    title="llama-server",
    takes_ids=False,
    listing=Request("/props"),
    read_listing=_props,
    request=partial(documents_request, "/rerank"),
    takes_instruction=False,
    gives_logits=False,
    forbidden=("{query}", "{document}"),
)
