"""llama.cpp's `llama-server`: exact, but instruction and width are the file's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from servers.computing import Text, TooLong

from .base import Body, Handler, OpenAIEngine, Refusal, Reply, by_score


class LlamaCpp(OpenAIEngine):
    """``llama-server --embedding`` or ``--reranking``."""

    name = "llama_cpp"
    owner = "llamacpp"
    work = frozenset({"/v1/embeddings", "/embeddings", "/rerank", "/v1/rerank", "/reranking"})
    guarded = ("/v1/embeddings", "/embeddings", "/rerank", "/v1/rerank", "/reranking", "/tokenize")

    def routes(self) -> Mapping[str, Handler]:
        """Return them."""
        return {
            "GET /health": lambda _: {"status": "ok"},
            "GET /props": self.props,
            "GET /v1/models": self.models,
            "GET /models": self.models,
            "POST /tokenize": self.tokenize,
            **dict.fromkeys(("POST /v1/embeddings", "POST /embeddings"), self.embeddings),
            **dict.fromkeys(("POST /rerank", "POST /v1/rerank", "POST /reranking"), self.rerank),
        }

    def error(self, status: int, message: str, kind: str | None = None, **more: Any) -> Any:
        """Return llama-server's shape."""
        kind = kind or "server_error"
        return {"error": {"code": status, "message": message, "type": kind, **more}}

    def too_long(self, long: TooLong) -> Reply:
        """Return both numbers."""
        payload = self.error(
            400,
            "the request exceeds the available context size, try increasing it",
            "exceed_context_size_error",
            n_prompt_tokens=long.tokens,
            n_ctx=long.limit,
        )
        return Reply(400, payload)

    def check_model(self, body: Body) -> None:
        """Take any name: there is one model."""

    def model_facts(self) -> Body:
        """Return what the file says."""
        meta = {"n_vocab": self.computing.network.tokenizer.get_vocab_size(), "n_ctx_train": 32768}
        return {"meta": meta}

    def props(self, _: Body) -> Any:
        """Answer ``GET /props``."""
        return {
            "default_generation_settings": {"n_ctx": self.setup.max_length},
            "total_slots": 4,
            "model_path": self.model,
            "build_info": "b6000-fake",
        }

    def tokenize(self, body: Body) -> Any:
        """Answer ``POST /tokenize``."""
        return {
            "tokens": self.computing.ids(body["content"], special=body.get("add_special", False))
        }

    def embed(self, inputs: list[Text], body: Body) -> NDArray[np.float64]:
        """Return the vectors in their full width, whatever was asked for."""
        if self.setup.serves != "embedder":
            raise Refusal(
                501,
                "This server does not support embeddings. Start it with `--embeddings`",
                "not_supported_error",
            )
        if any(not each for each in inputs):
            raise Refusal(400, "Input content cannot be empty", "invalid_request_error")
        return self.computing.vectors(inputs)

    def rerank(self, body: Body) -> Any:
        """Answer ``POST /rerank`` by the file's template; a literal {document} is replaced."""
        if self.setup.serves != "reranker":
            raise Refusal(
                501,
                "This server does not support reranking. Start it with `--reranking`",
                "not_supported_error",
            )
        query, documents = body.get("query"), body.get("documents", body.get("texts"))
        if not isinstance(query, str) or not isinstance(documents, list) or not documents:
            raise Refusal(400, '"documents" must be a non-empty string array', "invalid_request")
        self.check_batch(documents)
        prompts = []
        for document in documents:
            whole = self.computing.prompt(query, "{document}", None)
            prompts.append(whole.replace("{document}", document))
        ranked = by_score(self.computing.probabilities(prompts))[: body.get("top_n") or None]
        if "texts" in body:
            return [{"index": place, "score": score} for place, score in ranked]
        results = [{"index": place, "relevance_score": score} for place, score in ranked]
        return {"model": self.model, "object": "list", "usage": {}, "results": results}
