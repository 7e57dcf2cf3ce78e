"""Infinity: embeds text, after stripping it; its rerankers know no prompt, so they are not used."""

from __future__ import annotations

from functools import partial

from qwen_retrieval.servers.engine import (
    EmbeddingEngine,
    Request,
    embeddings_request,
    openai_listing,
)

EMBEDDING = EmbeddingEngine(
    server="infinity",
    title="Infinity",
    takes_ids=False,
    version="keep",  # its --url-prefix
    listing=Request("/models"),
    read_listing=openai_listing,
    request=partial(embeddings_request, "/embeddings"),
    strips=True,
)
