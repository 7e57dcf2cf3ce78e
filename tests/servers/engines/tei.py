"""Text Embeddings Inference 1.9: embeddings alone, small batches, limits that `/info` tells."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from servers.computing import TooLong

from .base import Body, Engine, Handler, Refusal, Reply, numbers, texts_only


class TEI(Engine):
    """``text-embeddings-router --pooling last-token``."""

    name = "tei"
    serves = frozenset({"embedder"})
    work = frozenset({"/embed", "/rerank", "/v1/embeddings"})
    max_batch = 32
    too_many = 422
    indexed = False

    def routes(self) -> Mapping[str, Handler]:
        """Return them."""
        return {
            "GET /health": lambda _: Reply(200),
            "GET /info": self.info,
            "POST /embed": self.embed,
            "POST /rerank": self.rerank,
            "POST /v1/embeddings": self.openai,
            "POST /tokenize": self.tokenize,
        }

    def error(self, status: int, message: str, kind: str | None = None, **more: Any) -> Any:
        """Return TEI's shape."""
        return {"error": message, "error_type": kind or "Backend", **more}

    def unauthorized(self) -> Reply:
        """Return no body at all."""
        return Reply(401)

    def overloaded(self) -> Reply:
        """Return TEI's name for it."""
        return Reply(429, self.error(429, "Model is overloaded", "Overloaded"))

    def too_long(self, long: TooLong) -> Reply:
        """Return TEI's sentence."""
        message = f"`inputs` must have less than {long.limit} tokens. Given: {long.tokens}"
        return Reply(413, self.error(413, message, "Validation"))

    def info(self, _: Body) -> Any:
        """Answer ``GET /info``."""
        setup = self.setup
        pooling = "last_token" if setup.pooling == "last" else "mean"
        return {
            "model_id": self.model,
            "model_sha": None,
            "model_dtype": "float16" if setup.overflows else "float32",
            "model_type": {"embedding": {"pooling": pooling}},
            "max_concurrent_requests": setup.max_concurrent or 512,
            "max_input_length": setup.max_length,
            "max_batch_tokens": 16384,
            "max_batch_requests": None,
            "max_client_batch_size": setup.max_batch or self.max_batch,
            "auto_truncate": setup.truncates,
            "tokenization_workers": 2,
            "version": "1.9.0",
        }

    def tokenize(self, body: Body) -> Any:
        """Answer ``POST /tokenize``."""
        special = body.get("add_special_tokens", True)
        return [
            [{"id": each, "text": "", "special": False} for each in ids]
            for ids in (
                self.computing.ids(text, special=special) for text in texts_only(body["inputs"])
            )
        ]

    def embed(self, body: Body) -> Any:
        """Answer ``POST /embed`` with bare lists, which do not say what they answer."""
        texts = texts_only(body.get("inputs"))
        if not texts or any(not text for text in texts):
            raise Refusal(400, "`inputs` cannot be empty", "Empty")
        self.check_batch(texts)
        truncates = body.get("truncate")
        vectors = self.computing.vectors(
            texts,
            dimensions=body.get("dimensions"),
            normalize=body.get("normalize", True),
            truncate=self.setup.max_length if truncates else None,
        )
        return [numbers(row) for row in vectors]

    def openai(self, body: Body) -> Any:
        """Answer ``POST /v1/embeddings``."""
        rows = self.embed({"inputs": body.get("input"), "dimensions": body.get("dimensions")})
        data = [{"object": "embedding", "index": n, "embedding": row} for n, row in enumerate(rows)]
        return {"object": "list", "model": self.model, "data": data, "usage": {"total_tokens": 1}}

    def rerank(self, _: Body) -> Any:
        """Refuse: Qwen3 rerankers are no classifier to TEI, and this is an embedder."""
        raise Refusal(424, "model is not a re-ranker model", "Backend")
