"""vLLM 0.32: an exact path by token ids, a template of its own for `/rerank`, ignored fields."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from servers.computing import Text, TooLong, sigmoid

from .base import Body, Handler, OpenAIEngine, Refusal, Reply, as_list, by_score, numbers


class VLLM(OpenAIEngine):
    """``python -m vllm.entrypoints.openai.api_server --runner pooling``."""

    name = "vllm"
    owner = "vllm"
    work = frozenset(
        {"/v1/embeddings", "/pooling", "/classify", "/score", "/v1/score", "/rerank", "/v1/rerank",
         "/v2/rerank"}
    )  # fmt: skip
    non_finite = "500"

    def routes(self) -> Mapping[str, Handler]:
        """Return them; a server has those of its model's kind."""
        common: dict[str, Handler] = {
            "GET /health": lambda _: Reply(200),
            "GET /version": lambda _: {"version": "0.32.0"},
            "GET /v1/models": self.models,
            "POST /tokenize": self.tokenize,
            "POST /pooling": self.pooling,
            "POST /score": self.score,
            "POST /v1/score": self.score,
            **dict.fromkeys(("POST /rerank", "POST /v1/rerank", "POST /v2/rerank"), self.rerank),
        }
        if self.setup.serves == "embedder":
            return {**common, "POST /v1/embeddings": self.embeddings}
        return {**common, "POST /classify": self.classify}

    def model_facts(self) -> Body:
        """Return the length that a sequence may have."""
        return {"root": self.model, "parent": None, "max_model_len": self.setup.max_length}

    def unauthorized(self) -> Reply:
        """Return vLLM's bare line."""
        return Reply(401, {"error": "Unauthorized"})

    def too_long(self, long: TooLong) -> Reply:
        """Return the sentence that names the model's context."""
        message = (
            f"This model's maximum context length is {long.limit} tokens. However, you requested"
            f" {long.tokens} tokens in the input for embedding generation. Please reduce the"
            " length of the input."
        )
        return Reply(400, self.error(400, message, "BadRequestError"))

    def tokenize(self, body: Body) -> Any:
        """Answer ``POST /tokenize``."""
        special = body.get("add_special_tokens", True)
        ids = self.computing.ids(body["prompt"], special=special)
        return {"count": len(ids), "max_model_len": self.setup.max_length, "tokens": ids}

    def embed(self, inputs: list[Text], body: Body) -> NDArray[np.float64]:
        """Return the vectors; a width only where the override makes the model a Matryoshka one."""
        dimensions = body.get("dimensions")
        if dimensions is not None and not self.setup.matryoshka:
            raise Refusal(
                400,
                f'Model "{self.model}" does not support matryoshka representation, changing output'
                " dimensions will lead to poor results.",
                "BadRequestError",
            )
        truncate = body.get("truncate_prompt_tokens")
        if truncate == -1:
            truncate = self.setup.max_length
        return self.computing.vectors(
            inputs,
            dimensions=dimensions,
            normalize=_activation(body),
            truncate=truncate,
        )

    def pooling(self, body: Body) -> Any:
        """Answer ``POST /pooling``, for either kind."""
        self.check_model(body)
        inputs = as_list(body.get("input"))
        self.check_batch(inputs)
        if self.setup.serves == "embedder":
            rows = [numbers(row) for row in self.embed(inputs, body)]
        elif body.get("task", "classify") == "classify":
            rows = [[score] for score in self._classes(inputs, body)]
        else:
            raise Refusal(400, f"Unsupported task: {body['task']!r}", "BadRequestError")
        data = [{"object": "pooling", "index": n, "data": row} for n, row in enumerate(rows)]
        return {"object": "list", "model": self.model, "data": data, "usage": _no_usage()}

    def classify(self, body: Body) -> Any:
        """Answer ``POST /classify``: one class, whose probability is P("yes")."""
        self.check_model(body)
        inputs = as_list(body.get("input"))
        self.check_batch(inputs)
        data = [
            {"index": place, "label": "LABEL_0", "probs": [score], "num_classes": 1}
            for place, score in enumerate(self._classes(inputs, body))
        ]
        return {"object": "list", "model": self.model, "data": data, "usage": _no_usage()}

    def score(self, body: Body) -> Any:
        """Answer ``POST /score``."""
        self.check_model(body)
        second = body["text_2"]
        documents = [second] if isinstance(second, str) else second
        scores = self._scores(body["text_1"], documents, None)
        data = [{"object": "score", "index": n, "score": float(s)} for n, s in enumerate(scores)]
        return {"object": "list", "model": self.model, "data": data, "usage": _no_usage()}

    def rerank(self, body: Body) -> Any:
        """Answer ``POST /rerank``; an embedder's server gives cosines with status 200."""
        self.check_model(body)
        if "top_n" in body and body["top_n"] is None:
            raise Refusal(400, "top_n: Input should be a valid integer", "BadRequestError")
        documents = body["documents"]
        self.check_batch(documents)
        ranked = by_score(self._scores(body["query"], documents, body.get("instruction")))
        results = [
            {"index": place, "document": {"text": documents[place]}, "relevance_score": score}
            for place, score in ranked[: body.get("top_n") or None]
        ]
        return {"id": "rerank-1", "model": self.model, "results": results, "usage": _no_usage()}

    def _classes(self, inputs: list[Text], body: Body) -> list[float]:
        logits = self.computing.logits(inputs)
        return [float(each) for each in (sigmoid(logits) if _activation(body) else logits)]

    def _scores(
        self, query: str, documents: list[str], instruction: str | None
    ) -> NDArray[np.float64]:
        if self.setup.serves == "embedder":
            return self.computing.similarities(query, documents)
        prompts = [self.computing.prompt(query, each, instruction) for each in documents]
        return self.computing.probabilities(prompts)


def _activation(body: Body) -> bool:
    for name in ("use_activation", "normalize", "activation"):
        if body.get(name) is not None:
            return bool(body[name])
    return True


def _no_usage() -> Body:
    return {"prompt_tokens": 1, "total_tokens": 1, "completion_tokens": 0}
