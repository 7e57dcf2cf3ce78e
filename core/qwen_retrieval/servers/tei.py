"""Text Embeddings Inference: embeds text; it does not know Qwen3 rerankers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qwen_retrieval.servers.engine import Call, EmbeddingEngine, Request, Served


def _embed(items: Sequence[str], call: Call) -> Request:  # noqa: ARG001 - it has one model
    return Request("/embed", {"inputs": list(items), "truncate": False, "normalize": True})


def _info(answer: Any) -> list[Served]:  # noqa: ANN401 - JSON
    return [
        Served(
            str(answer["model_id"]),
            context=answer.get("max_input_length"),
            batch=answer.get("max_client_batch_size"),
        )
    ]


EMBEDDING = EmbeddingEngine(
    server="tei",
    title="Text Embeddings Inference",
    takes_ids=False,  # it decodes ids to text and encodes that again
    listing=Request("/info"),
    read_listing=_info,
    request=_embed,
    refuses_empty=True,
)
