"""SGLang: `/v1/score` by token ids is exact; its own template for `/v1/rerank` is not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from servers.computing import PREFIX, SUFFIX, Text, TooLong

from .base import Body, Handler, OpenAIEngine, Refusal, Reply


class SGLang(OpenAIEngine):
    """``python -m sglang.launch_server``, with ``--is-embedding`` for an embedder."""

    name = "sglang"
    owner = "sglang"
    work = frozenset({"/v1/embeddings", "/v1/score", "/v1/rerank"})
    guarded = ("/v1/",)

    def routes(self) -> Mapping[str, Handler]:
        """Return them."""
        return {
            "GET /health": lambda _: Reply(200),
            "GET /get_model_info": self.info,
            "GET /model_info": self.info,
            "GET /get_server_info": self.server_info,
            "GET /server_info": self.server_info,
            "GET /v1/models": self.models,
            "POST /v1/embeddings": self.embeddings,
            "POST /v1/score": self.score,
            "POST /v1/rerank": self.rerank,
        }

    def error(self, status: int, message: str, kind: str | None = None, **more: Any) -> Any:
        """Return SGLang's flat shape."""
        more = {"type": kind or "BadRequestError", "param": None, "code": status, **more}
        return {"object": "error", "message": message, **more}

    def unauthorized(self) -> Reply:
        """Return its line."""
        return Reply(401, {"error": "Unauthorized"})

    def too_long(self, long: TooLong) -> Reply:
        """Return its sentence."""
        message = (
            f"The input ({long.tokens} tokens) is longer than the model's context length"
            f" ({long.limit} tokens)."
        )
        return Reply(400, self.error(400, message))

    def model_facts(self) -> Body:
        """Return the length that a sequence may have."""
        return {"root": self.model, "max_model_len": self.setup.max_length}

    def info(self, _: Body) -> Any:
        """Answer ``GET /get_model_info``."""
        generates = self.setup.serves == "reranker"
        return {"model_path": self.model, "tokenizer_path": self.model, "is_generation": generates}

    def server_info(self, _: Body) -> Any:
        """Answer ``GET /get_server_info``."""
        return {"version": "0.5.6", "context_length": self.setup.max_length}

    def embed(self, inputs: list[Text], body: Body) -> NDArray[np.float64]:
        """Return the vectors; a width only where the model is known for one."""
        self.need("embedder", "This model does not appear to be an embedding model", 400)
        if body.get("dimensions") is not None and not self.setup.matryoshka:
            raise Refusal(400, f"Model '{self.model}' does not support matryoshka representation")
        return self.computing.vectors(inputs, dimensions=body.get("dimensions"))

    def score(self, body: Body) -> Any:
        """Answer ``POST /v1/score``: the labels' share after query + item, in the labels' order."""
        self.need("reranker", "This model generates no token", 400)
        query, items = body["query"], body["items"]
        if isinstance(items, str):
            items = [items]
        self.check_batch(items)
        if isinstance(query, str) != all(isinstance(each, str) for each in items):
            raise Refusal(400, "Invalid combination of query/items types for score.")
        logits = self.computing.answers([query + each for each in items], body["label_token_ids"])
        if not body.get("apply_softmax", False):
            # Without it: the labels' probabilities among all tokens. Not needed by anyone here.
            raise Refusal(400, "apply_softmax is off")
        if self.setup.swaps_answers:
            logits = logits[:, ::-1]
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        scores = (powers / powers.sum(axis=1, keepdims=True)).tolist()
        return {"scores": scores, "model": self.model, "usage": None, "object": "scoring"}

    def rerank(self, body: Body) -> Any:
        """Answer ``POST /v1/rerank`` by the shipped template, which has no think block."""
        self.need("reranker", "This model is no reranker", 400)
        documents = body["documents"]
        self.check_batch(documents)
        task = body.get("instruct") or self.setup.instruction
        suffix = SUFFIX if self.setup.template == "exact" else SUFFIX.split("<think>")[0]
        prompts = [
            f"{PREFIX}<Instruct>: {task}\n<Query>: {body['query']}\n<Document>: {each}{suffix}"
            for each in documents
        ]
        scores = self.computing.probabilities(prompts)
        order = sorted(range(len(scores)), key=lambda place: -scores[place])
        return [
            {"score": float(scores[n]), "document": documents[n], "index": n}
            for n in order[: body.get("top_n") or None]
        ]
