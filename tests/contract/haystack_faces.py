"""Haystack's components in the contract's words."""

# ruff: noqa: D102 - faces.py describes the methods

from __future__ import annotations

import copy
import inspect
from collections.abc import Sequence
from typing import Any

from haystack import Document, Pipeline
from haystack.utils import Secret

from haystack_integrations.components.embedders.qwen_retrieval import (
    QwenDocumentEmbedder,
    QwenTextEmbedder,
)
from haystack_integrations.components.rankers.qwen_retrieval import QwenRanker
from qwen_retrieval import Ranked

from .faces import EmbedderSubject, RerankerSubject, Subject


class _Haystack(Subject):
    kinds: tuple[type[Any], ...]
    reopens = True  # Haystack closes a pipeline's components between runs; the next run warms up

    def __init__(self, **values: Any) -> None:
        self.parts = tuple(kind(**values) for kind in self.kinds)

    @classmethod
    def types(cls) -> tuple[type, ...]:
        return cls.kinds

    @classmethod
    def from_loaded(cls, loaded: Any, **values: Any) -> Any:
        made = cls(**values)
        made.parts = tuple(kind.from_loaded(loaded, **values) for kind in cls.kinds)
        return made

    @classmethod
    def defaults(cls, kind: type) -> dict[str, Any]:
        # Of __init__: Haystack's metaclass shows (*args, **kwargs) for the class itself.
        parameters = inspect.signature(kind.__init__).parameters.values()
        return {each.name: each.default for each in parameters if each.name != "self"}

    @classmethod
    def with_token(cls, token: str) -> list[Any]:
        given = (token, Secret.from_token(token), Secret.from_env_var("CONTRACT_TOKEN"))
        return [kind(token=each) for kind in cls.kinds for each in given]

    @classmethod
    def save(cls, part: Any) -> str:
        pipeline = Pipeline()
        pipeline.add_component("part", part)
        return pipeline.dumps()

    @classmethod
    def load(cls, text: str, kind: type) -> Any:
        return Pipeline.loads(text).get_component("part")

    async def aclose(self) -> None:
        for part in self.parts:
            await part.close_async()


class HaystackEmbedder(_Haystack, EmbedderSubject):
    """`QwenTextEmbedder` for queries beside `QwenDocumentEmbedder` for documents."""

    name = "haystack"
    kinds = (QwenTextEmbedder, QwenDocumentEmbedder)
    many_queries = False  # Haystack embeds one query a run
    extras = {"meta_fields_to_embed": ["title"], "embedding_separator": " | "}  # noqa: RUF012

    def embed_queries(self, texts: Sequence[str], **given: Any) -> Any:
        return [self.parts[0].run(text=text, **given)["embedding"] for text in texts]

    def embed_documents(self, texts: Sequence[str]) -> Any:
        return self._vectors(self.parts[1].run(documents=_documents(texts)))

    async def aembed_queries(self, texts: Sequence[str], **given: Any) -> Any:
        return [(await self.parts[0].run_async(text=text, **given))["embedding"] for text in texts]

    async def aembed_documents(self, texts: Sequence[str]) -> Any:
        return self._vectors(await self.parts[1].run_async(documents=_documents(texts)))

    @staticmethod
    def _vectors(output: dict[str, Any]) -> list[Any]:
        return [document.embedding for document in output["documents"]]


class HaystackRanker(_Haystack, RerankerSubject):
    """`QwenRanker`."""

    name = "haystack"
    kinds = (QwenRanker,)
    top_n = "top_k"
    extras = {  # noqa: RUF012
        "top_k": 3,
        "score_threshold": 0.25,
        "scale_score": False,
        "meta_fields_to_embed": ["title"],
        "embedding_separator": " | ",
    }

    def rerank(self, query: str, documents: Sequence[Any], **given: Any) -> Sequence[Any]:
        return self.parts[0].run(query=query, documents=documents, **_words(given))["documents"]

    async def arerank(self, query: str, documents: Sequence[Any], **given: Any) -> Sequence[Any]:
        run = self.parts[0].run_async
        return (await run(query=query, documents=documents, **_words(given)))["documents"]

    @classmethod
    def wrap(cls, texts: Sequence[str]) -> list[Any]:
        return _documents(texts)

    @classmethod
    def ranked(cls, results: Sequence[Any]) -> list[Ranked]:
        return [Ranked(int(each.id), each.score) for each in results]

    @classmethod
    def content(cls, document: Any) -> tuple[str, Any]:
        meta = copy.deepcopy(document.meta)
        meta.pop("retrieval_score", None)
        return document.content, meta


def _documents(texts: Sequence[str]) -> Any:
    if isinstance(texts, str):
        return texts
    return [
        Document(id=str(place), content=text, score=0.5, meta={"nested": {"tags": ["a"]}})
        for place, text in enumerate(texts)
    ]


def _words(given: dict[str, Any]) -> dict[str, Any]:
    return {{"top_n": "top_k"}.get(name, name): value for name, value in given.items()}


EMBEDDERS = [HaystackEmbedder]
RERANKERS = [HaystackRanker]
