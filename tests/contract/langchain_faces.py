"""LangChain's classes in the contract's words."""

# ruff: noqa: D102 - faces.py describes the methods

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from langchain_core._api import LangChainBetaWarning
from langchain_core.documents import Document
from langchain_core.load import dumps, loads

from langchain_qwen_retrieval import QwenCrossEncoder, QwenEmbeddings, QwenReranker
from qwen_retrieval import Ranked

from .faces import EmbedderSubject, RerankerSubject, Subject
from .pydantic_fields import defaults


class _LangChain(Subject):
    kind: type[Any]

    def __init__(self, **values: Any) -> None:
        self.parts = (self.kind(**values),)

    @classmethod
    def types(cls) -> tuple[type, ...]:
        return (cls.kind,)

    @classmethod
    def from_loaded(cls, loaded: Any, **values: Any) -> Any:
        made = cls(**values)
        made.parts = (cls.kind.from_loaded(loaded, **values),)
        return made

    @classmethod
    def defaults(cls, kind: type) -> dict[str, Any]:
        return defaults(kind)

    @classmethod
    def with_token(cls, token: str) -> list[Any]:
        return [cls.kind(token=token)]

    @classmethod
    def save(cls, part: Any) -> str:
        return dumps(part)

    @classmethod
    def load(cls, text: str, kind: type) -> Any:
        root = kind.__module__.split(".", maxsplit=1)[0]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", LangChainBetaWarning)  # of `loads` itself
            return loads(text, allowed_objects=[kind], valid_namespaces=[root])


class LangChainEmbedder(_LangChain, EmbedderSubject):
    """`QwenEmbeddings`."""

    name = "langchain"
    kind = QwenEmbeddings
    many_queries = False  # LangChain embeds one query a call

    def embed_queries(self, texts: Sequence[str], **given: Any) -> list[Any]:
        return [self.parts[0].embed_query(text, **given) for text in texts]

    def embed_documents(self, texts: Sequence[str]) -> Any:
        return self.parts[0].embed_documents(texts)

    async def aembed_queries(self, texts: Sequence[str], **given: Any) -> list[Any]:
        return [await self.parts[0].aembed_query(text, **given) for text in texts]

    async def aembed_documents(self, texts: Sequence[str]) -> Any:
        return await self.parts[0].aembed_documents(texts)


class LangChainReranker(_LangChain, RerankerSubject):
    """`QwenReranker`: `compress_documents`, and `rerank` where a call has wishes of its own."""

    name = "langchain"
    kind = QwenReranker
    extras = {"top_n": 3, "score_threshold": 0.25, "metadata_fields": ("title",)}  # noqa: RUF012

    def rerank(self, query: str, documents: Sequence[Any], **given: Any) -> Sequence[Any]:
        if given:
            return self.parts[0].rerank(documents, query, **given)
        return self.parts[0].compress_documents(documents, query)

    async def arerank(self, query: str, documents: Sequence[Any], **given: Any) -> Sequence[Any]:
        if given:
            return await self.parts[0].arerank(documents, query, **given)
        return await self.parts[0].acompress_documents(documents, query)

    @classmethod
    def wrap(cls, texts: Sequence[str]) -> list[Any]:
        return [
            Document(
                id=str(place), page_content=text, metadata={"score": 0.5, "nested": {"tags": ["a"]}}
            )
            for place, text in enumerate(texts)
        ]

    @classmethod
    def ranked(cls, results: Sequence[Any]) -> list[Ranked]:
        if results and isinstance(results[0], Document):
            return [Ranked(int(d.id), d.metadata["relevance_score"]) for d in results]
        return [Ranked(each["index"], each["relevance_score"]) for each in results]

    @classmethod
    def content(cls, document: Any) -> tuple[str, Any]:
        metadata = {k: v for k, v in document.metadata.items() if k != "relevance_score"}
        return document.page_content, metadata


class LangChainCrossEncoder(_LangChain, RerankerSubject):
    """`QwenCrossEncoder`: scores alone."""

    name = "langchain_cross_encoder"
    kind = QwenCrossEncoder
    orders = False
    has_defaults = False
    scores_pairs = True

    def score(self, pairs: Sequence[Any], **given: Any) -> Any:
        return self.parts[0].score(pairs, **given)

    async def ascore(self, pairs: Sequence[Any], **given: Any) -> Any:
        return await self.parts[0].ascore(pairs, **given)


EMBEDDERS = [LangChainEmbedder]
RERANKERS = [LangChainReranker, LangChainCrossEncoder]
