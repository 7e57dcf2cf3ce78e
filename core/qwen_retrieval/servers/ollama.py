"""Ollama: embeds text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qwen_retrieval.servers.engine import Call, EmbeddingEngine, Request, Served


def _embed(items: Sequence[str], call: Call) -> Request:
    # It cuts a long text in silence unless it is told not to.
    return Request("/api/embed", {"model": call.model, "input": list(items), "truncate": False})


def _tags(answer: Any) -> list[Served]:  # noqa: ANN401 - JSON
    return [Served(str(each["name"])) for each in answer["models"]]


EMBEDDING = EmbeddingEngine(
    server="ollama",
    title="Ollama",
    takes_ids=False,
    listing=Request("/api/tags"),
    read_listing=_tags,
    request=_embed,
)
