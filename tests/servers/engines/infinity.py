"""Infinity 0.0.78: strips what it is given, does not scale a cut vector, and has no template."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from servers.computing import Text

from .base import Body, Handler, OpenAIEngine, Refusal, Reply, by_score

MAX_CHARACTERS = 8192 * 15


class Infinity(OpenAIEngine):
    """``infinity_emb v2 --engine torch``."""

    name = "infinity"
    owner = "infinity"
    work = frozenset({"/embeddings", "/rerank", "/v1/embeddings", "/v1/rerank"})
    guarded = ("/models", "/embeddings", "/rerank")
    max_batch = 2048
    too_many = 422

    def routes(self) -> Mapping[str, Handler]:
        """Return them; ``--url-prefix /v1`` is as common as none."""
        return {
            "GET /health": lambda _: {"unix": 1.0},
            **dict.fromkeys(("GET /models", "GET /v1/models"), self.models),
            **dict.fromkeys(("POST /embeddings", "POST /v1/embeddings"), self.embeddings),
            **dict.fromkeys(("POST /rerank", "POST /v1/rerank"), self.rerank),
        }

    def unauthorized(self) -> Reply:
        """Return FastAPI's own shape."""
        return Reply(401, {"detail": "Unauthorized"})

    def model_facts(self) -> Body:
        """Return what the engine counts."""
        kind = "embed" if self.setup.serves == "embedder" else "rerank"
        stats = {"queue_fraction": 0.0, "queue_absolute": 0, "results_pending": 0, "batch_size": 32}
        return {"stats": stats, "backend": "torch", "capabilities": [kind]}

    def check_model(self, body: Body) -> None:
        """Refuse an unknown name; without one the only model answers."""
        if body.get("model", "default/not-specified") not in {self.model, "default/not-specified"}:
            raise Refusal(400, f"Invalid model: {body['model']}")

    def embeddings(self, body: Body) -> Any:
        """Answer ``POST /embeddings`` with texts alone, blanks stripped from their ends."""
        given = body.get("input")
        texts = _strings([given] if isinstance(given, str) else given)
        return super().embeddings({**body, "input": texts})

    def embed(self, inputs: list[Text], body: Body) -> NDArray[np.float64]:
        """Return the vectors; a cut one is shorter than one."""
        if self.setup.serves != "embedder":
            raise Refusal(400, "the loaded moded cannot fullyfill `embed`")
        whole = self.computing.vectors(inputs)
        return whole[:, : body.get("dimensions") or None]

    def rerank(self, body: Body) -> Any:
        """Answer ``POST /rerank``: the pair without a template."""
        if self.setup.serves != "reranker":
            raise Refusal(400, "the loaded moded cannot fullyfill `rerank`")
        query = _strings([body.get("query")])[0]
        documents = _strings(body.get("documents"))
        self.check_batch(documents)
        ranked = by_score(self.computing.probabilities([query + each for each in documents]))
        results = [
            {"relevance_score": score, "index": place}
            for place, score in ranked[: body.get("top_n") or None]
        ]
        return {"object": "rerank", "results": results, "model": self.model, "usage": {}}


def _strings(given: Any) -> list[str]:
    if not isinstance(given, list) or not given:
        raise Refusal(422, "List should have at least 1 item after validation")
    for each in given:
        if not isinstance(each, str):
            raise Refusal(422, "Input should be a valid string")
        if len(each) > MAX_CHARACTERS:
            raise Refusal(422, f"String should have at most {MAX_CHARACTERS} characters")
    return [each.strip() for each in given]
