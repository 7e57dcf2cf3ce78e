"""SGLang: prompts go there as token ids; a reranker is asked for its two answers' probabilities."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from itertools import takewhile

from qwen_retrieval.servers.engine import (
    Call,
    EmbeddingEngine,
    Request,
    RerankEngine,
    embeddings_request,
    openai_listing,
)


def _score(items: Sequence[list[int]], call: Call) -> Request:
    # The server puts the query's ids before each item's; neither may be empty.
    same = takewhile(lambda column: len(set(column)) == 1, zip(*items, strict=False))
    shared = min(len(list(same)), min(map(len, items)) - 1)
    body = {
        "model": call.model,
        "query": items[0][:shared],
        "items": [ids[shared:] for ids in items],
        "label_token_ids": list(call.answers),
        "apply_softmax": True,
    }
    return Request("/v1/score", body)


def _answer(value: Sequence[float], call: Call) -> float:
    yes, no = map(float, value)
    if not call.logits:
        return yes
    return math.log(yes) - math.log(no) if yes > 0 and no > 0 else math.nan


EMBEDDING = EmbeddingEngine(
    server="sglang",
    title="SGLang",
    takes_ids=True,
    listing=Request("/v1/models"),
    read_listing=openai_listing,
    request=partial(embeddings_request, "/v1/embeddings"),
)
RERANK = RerankEngine(
    server="sglang",
    title="SGLang",
    takes_ids=True,
    listing=Request("/v1/models"),
    read_listing=openai_listing,
    request=_score,
    takes_instruction=True,
    gives_logits=True,
    score=_answer,
)
