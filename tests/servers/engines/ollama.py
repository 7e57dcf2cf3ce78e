"""Ollama: embeddings alone; long text is cut in silence unless it is told not to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from servers.computing import TooLong

from .base import Body, Engine, Handler, Refusal, Reply, numbers, texts_only


class Ollama(Engine):
    """``ollama serve``."""

    name = "ollama"
    serves = frozenset({"embedder"})
    work = frozenset({"/api/embed"})
    guarded = ("/api/",)
    indexed = False
    non_finite = "500"

    def routes(self) -> Mapping[str, Handler]:
        """Return them."""
        return {
            "GET /": lambda _: Reply(200),
            "GET /api/version": lambda _: {"version": "0.13.0"},
            "GET /api/tags": self.tags,
            "POST /api/show": self.show,
            "POST /api/embed": self.embed,
        }

    def error(self, status: int, message: str, kind: str | None = None, **more: Any) -> Any:
        """Return Ollama's single word."""
        return {"error": message}

    def too_long(self, long: TooLong) -> Reply:
        """Return its sentence."""
        return Reply(400, self.error(400, "the input length exceeds the context length"))

    def check_model(self, body: Body) -> None:
        """Refuse a model that was not pulled."""
        if body.get("model") != self.model:
            name = body.get("model")
            raise Refusal(404, f'model "{name}" not found, try pulling it first')

    def tags(self, _: Body) -> Any:
        """Answer ``GET /api/tags``."""
        details = {"format": "gguf", "family": "qwen3", "quantization_level": "F32"}
        return {"models": [{"name": self.model, "model": self.model, "details": details}]}

    def show(self, body: Body) -> Any:
        """Answer ``POST /api/show``."""
        self.check_model(body)
        width = self.computing.network.model.config.hidden_size
        known = {
            "general.architecture": "qwen3",
            "qwen3.context_length": self.setup.max_length,
            "qwen3.embedding_length": width,
        }
        return {"capabilities": ["embedding"], "model_info": known, "details": {"format": "gguf"}}

    def embed(self, body: Body) -> Any:
        """Answer ``POST /api/embed``: cut, then of unit length again."""
        self.check_model(body)
        texts = texts_only(body.get("input"), 400)
        self.check_batch(texts)
        context = (body.get("options") or {}).get("num_ctx", self.setup.max_length)
        limit = min(context, self.setup.max_length)
        if not body.get("truncate", True):
            for place, ids in enumerate(map(self.computing.ids, texts)):
                if len(ids) > limit:
                    raise TooLong(place, len(ids), limit)
        vectors = self.computing.vectors(texts, dimensions=body.get("dimensions"), truncate=limit)
        rows = [numbers(row) for row in vectors]
        return {"model": self.model, "embeddings": rows, "prompt_eval_count": len(texts)}
