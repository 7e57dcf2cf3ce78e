"""What calls itself compatible: OpenAI's embeddings, and Jina's or Cohere's rerank."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .base import Body, Handler, OpenAIEngine, Refusal, by_score, texts_only


class OpenAI(OpenAIEngine):
    """Any ``/v1/embeddings``; texts alone, and a limit on the batch that is found out by 413."""

    name = "openai"
    serves = frozenset({"embedder"})
    work = frozenset({"/v1/embeddings"})
    too_many = 413

    def routes(self) -> Mapping[str, Handler]:
        """Return them."""
        return {"GET /v1/models": self.models, "POST /v1/embeddings": self.embeddings}

    def embeddings(self, body: Body) -> Any:
        """Take texts alone."""
        return super().embeddings({**body, "input": texts_only(body.get("input"), 400)})


class Jina(OpenAIEngine):
    """Any ``/v1/rerank``."""

    name = "jina"
    serves = frozenset({"reranker"})
    work = frozenset({"/v1/rerank", "/rerank"})
    too_many = 413

    def routes(self) -> Mapping[str, Handler]:
        """Return them."""
        return {
            "GET /v1/models": self.models,
            "POST /v1/rerank": self.rerank,
            "POST /rerank": self.rerank,
        }

    def rerank(self, body: Body) -> Any:
        """Answer by the server's template; fields that are not known are ignored."""
        self.check_model(body)
        query, documents = body.get("query"), texts_only(body.get("documents"), 400)
        if not isinstance(query, str) or not documents:
            raise Refusal(422, "query and documents are needed")
        self.check_batch(documents)
        prompts = [self.computing.prompt(query, each, None) for each in documents]
        ranked = by_score(self.computing.probabilities(prompts))
        results = [
            {"index": place, "relevance_score": score}
            for place, score in ranked[: body.get("top_n") or None]
        ]
        return {"model": self.model, "results": results, "usage": {"total_tokens": 1}}
