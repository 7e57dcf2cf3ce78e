"""Doubles that remember what was opened, and documents to find things in."""

from typing import Any

import pytest
from haystack import Document

from qwen_retrieval.testing import FakeEmbedder, FakeReranker


class Opened(list[Any]):
    """Every model that was opened, in order; each knows its `token`, `loaded` and `called`."""


def _remembering(kind: type, opened: Opened) -> type:
    class Remembering(kind):  # type: ignore[misc] # one for each of two kinds
        def __init__(self, settings: Any, *, token: Any = None, loaded: Any = None) -> None:
            super().__init__(settings)
            self.token, self.loaded = token, loaded
            self.called: list[str] = []
            opened.append(self)

        def __getattribute__(self, name: str) -> Any:
            if name.lstrip("a").startswith(("embed_", "rerank", "score", "close")):
                object.__getattribute__(self, "called").append(name)
            return super().__getattribute__(name)

    return Remembering


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Opened:
    """Let components open doubles, and list them."""
    models = Opened()
    for path, kind in (
        ("qwen_retrieval.local.embedder.LocalEmbedder", FakeEmbedder),
        ("qwen_retrieval.local.reranker.LocalReranker", FakeReranker),
    ):
        monkeypatch.setattr(path, _remembering(kind, models))
    return models


@pytest.fixture
def documents() -> list[Document]:
    """Documents as a retriever returns them: with scores, metadata, line breaks."""
    return [
        Document(
            id="apple",
            content="Apples are red or green.",
            meta={"title": "Fruit", "tags": ["a"]},
            score=0.5,
        ),
        Document(
            id="sky", content="The sky\n\nis blue  by day.\n", meta={"title": None}, score=0.4
        ),
        Document(id="grass", content="Grass is green all summer.", score=0.3),
        Document(id="night", content="At night the sky is black.", meta={"title": "Sky"}),
    ]
