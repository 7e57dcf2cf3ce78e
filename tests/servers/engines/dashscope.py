"""DashScope: ten texts a request, its own envelopes, the query's instruction as a parameter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from servers.computing import TooLong

from .base import Body, Engine, Handler, Refusal, Reply, by_score, numbers, texts_only

EMBED = "/api/v1/services/embeddings/text-embedding/text-embedding"
RERANK = "/api/v1/services/rerank/text-rerank/text-rerank"


class DashScope(Engine):
    """``https://dashscope-intl.aliyuncs.com``."""

    name = "dashscope"
    work = frozenset({EMBED, RERANK, "/compatible-mode/v1/embeddings"})

    def routes(self) -> Mapping[str, Handler]:
        """Return them."""
        return {f"POST {EMBED}": self.embed, f"POST {RERANK}": self.rerank}

    def error(self, status: int, message: str, kind: str | None = None, **more: Any) -> Any:
        """Return DashScope's envelope."""
        return {"code": kind or "InvalidParameter", "message": message, "request_id": "r-1"}

    def unauthorized(self) -> Reply:
        """Return its name for it."""
        return Reply(401, self.error(401, "Invalid API-key provided.", "InvalidApiKey"))

    def overloaded(self) -> Reply:
        """Return its name for it."""
        return Reply(429, self.error(429, "Requests rate limit exceeded", "Throttling.RateQuota"))

    def too_long(self, long: TooLong) -> Reply:
        """Return its name for it."""
        return Reply(400, self.error(400, str(long)))

    def check_model(self, body: Body) -> None:
        """Refuse a name that is not its own."""
        if body.get("model") != self.model:
            raise Refusal(404, "Model not exist.", "ModelNotFound")

    def embed(self, body: Body) -> Any:
        """Answer the native embeddings: the service puts the instruction before a query itself."""
        self.check_model(body)
        texts = texts_only(body.get("input", {}).get("texts"), 400)
        self._check_count(texts, 10)
        parameters = body.get("parameters") or {}
        if parameters.get("text_type") == "query" and parameters.get("instruct"):
            texts = [f"Instruct: {parameters['instruct']}\nQuery:{text}" for text in texts]
        widest = self.computing.network.model.config.hidden_size
        if not 32 <= parameters.get("dimension", 32) <= widest:
            raise Refusal(400, f"dimension {parameters['dimension']} is invalid")
        vectors = self.computing.vectors(
            texts, dimensions=parameters.get("dimension"), truncate=self.setup.max_length
        )
        items = [{"text_index": n, "embedding": numbers(row)} for n, row in enumerate(vectors)]
        return {"output": {"embeddings": items}, "usage": {"total_tokens": 1}, "request_id": "r-1"}

    def rerank(self, body: Body) -> Any:
        """Answer the native reranking."""
        self.check_model(body)
        query, documents = body["input"]["query"], body["input"]["documents"]
        self._check_count(documents, 500)
        parameters = body.get("parameters") or {}
        instruction = parameters.get("instruct")
        prompts = [self.computing.prompt(query, each, instruction) for each in documents]
        ranked = by_score(self.computing.probabilities(prompts))
        results = [
            {"index": place, "relevance_score": score}
            for place, score in ranked[: parameters.get("top_n") or None]
        ]
        return {"output": {"results": results}, "usage": {"total_tokens": 1}, "request_id": "r-1"}

    def _check_count(self, texts: list[str], limit: int) -> None:
        most = limit if self.setup.max_batch is None else self.setup.max_batch
        if not texts or len(texts) > most:
            message = (
                f"<400> InternalError.Algo.InvalidParameter: Value error, batch size is invalid,"
                f" it should not be larger than {most}."
            )
            raise Refusal(400, message)
