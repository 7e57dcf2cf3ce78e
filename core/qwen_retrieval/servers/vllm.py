"""vLLM: prompts go there as token ids, so its templates and its tokenizer play no part."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from qwen_retrieval.servers.engine import (
    Call,
    EmbeddingEngine,
    Request,
    RerankEngine,
    embeddings_request,
    openai_listing,
)


def _classify(items: Sequence[list[int]], call: Call) -> Request:
    body: dict[str, object] = {"model": call.model, "input": list(items)}
    if call.logits:
        body["use_activation"] = False
    return Request("/classify", body)


EMBEDDING = EmbeddingEngine(
    server="vllm",
    title="vLLM",
    takes_ids=True,
    listing=Request("/v1/models"),
    read_listing=openai_listing,
    request=partial(embeddings_request, "/v1/embeddings"),
)
RERANK = RerankEngine(
    server="vllm",
    title="vLLM",
    takes_ids=True,
    listing=Request("/v1/models"),
    read_listing=openai_listing,
    request=_classify,
    takes_instruction=True,
    gives_logits=True,
)
