"""DashScope (Alibaba Cloud): models of its own, which put the instruction before queries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from qwen_retrieval.servers.engine import Call, EmbeddingEngine, Request, RerankEngine

if TYPE_CHECKING:
    from qwen_retrieval.contract import Pair

URL = "https://dashscope.aliyuncs.com"
KEY = "DASHSCOPE_API_KEY"


def _embed(items: Sequence[str], call: Call) -> Request:
    asks = bool(call.is_query and call.instruction)
    parameters: dict[str, object] = {"text_type": "query" if asks else "document"}
    if asks:
        parameters["instruct"] = call.instruction
    if call.dimensions is not None:
        parameters["dimension"] = call.dimensions
    return Request(
        "/api/v1/services/embeddings/text-embedding/text-embedding",
        {"model": call.model, "input": {"texts": list(items)}, "parameters": parameters},
    )


def _rerank(pairs: Sequence[Pair], call: Call) -> Request:
    return Request(
        "/api/v1/services/rerank/text-rerank/text-rerank",
        {
            "model": call.model,
            "input": {"query": pairs[0][0], "documents": [document for _, document in pairs]},
            "parameters": {
                "top_n": len(pairs),
                "return_documents": False,
                "instruct": call.instruction,
            },
        },
    )


EMBEDDING = EmbeddingEngine(
    server="dashscope",
    title="DashScope",
    takes_ids=False,
    default_url=URL,
    default_model="text-embedding-v4",
    batch=10,
    context=8192,
    key_variable=KEY,
    request=_embed,
    own_instruction=True,
    own_model=True,
)
RERANK = RerankEngine(
    server="dashscope",
    title="DashScope",
    takes_ids=False,
    default_url=URL,
    default_model="qwen3-rerank",
    batch=500,
    context=4000,  # a longer document is cut there in silence
    key_variable=KEY,
    request=_rerank,
    takes_instruction=True,
    gives_logits=False,
)
