"""Anything with Jina's or Cohere's ``/v1/rerank`` that serves a Qwen3 reranker by a template."""

from __future__ import annotations

from functools import partial

from qwen_retrieval.servers.engine import RerankEngine, documents_request

RERANK = RerankEngine(
    server="jina",
    title="the Jina-compatible server",
    takes_ids=False,
    version="add",
    key_variable="JINA_API_KEY",
    request=partial(documents_request, "/rerank"),
    takes_instruction=False,
    gives_logits=False,
)
