"""Anything with OpenAI's ``/v1/embeddings`` that serves a Qwen3 embedder; text is sent."""

from __future__ import annotations

from functools import partial

from qwen_retrieval.servers.engine import (
    EmbeddingEngine,
    Request,
    embeddings_request,
    openai_listing,
)

EMBEDDING = EmbeddingEngine(
    server="openai",
    title="the OpenAI-compatible server",
    takes_ids=False,
    version="add",
    listing=Request("/models"),
    read_listing=openai_listing,
    key_variable="OPENAI_API_KEY",
    request=partial(embeddings_request, "/embeddings"),
)
