"""LlamaIndex's classes in the contract's words."""

# ruff: noqa: D102 - faces.py describes the methods

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from llama_index.core.schema import NodeWithScore, TextNode

from llama_index.embeddings.qwen_retrieval import QwenEmbedding
from llama_index.postprocessor.qwen_retrieval import QwenRerank
from qwen_retrieval import Ranked

from .faces import EmbedderSubject, RerankerSubject, Subject
from .pydantic_fields import defaults


class _LlamaIndex(Subject):
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
        return part.to_json()

    @classmethod
    def load(cls, text: str, kind: type[Any]) -> Any:
        return kind.from_json(text)


class LlamaIndexEmbedder(_LlamaIndex, EmbedderSubject):
    """`QwenEmbedding`: LlamaIndex's own methods, and `embed_queries` for an own instruction."""

    name = "llama_index"
    kind = QwenEmbedding
    list_verb = "embed_queries"  # LlamaIndex takes documents apart before our class sees them
    extras = {"embed_batch_size": 7, "num_workers": 3}  # noqa: RUF012

    def embed_queries(self, texts: Sequence[str], **given: Any) -> Any:
        if given or len(texts) != 1:
            return self.parts[0].embed_queries(texts, **given)
        return [self.parts[0].get_query_embedding(texts[0])]

    def embed_documents(self, texts: Sequence[str]) -> Any:
        if len(texts) == 1:
            return [self.parts[0].get_text_embedding(texts[0])]
        return self.parts[0].get_text_embedding_batch(texts)

    async def aembed_queries(self, texts: Sequence[str], **given: Any) -> Any:
        if given or len(texts) != 1:
            return await self.parts[0].aembed_queries(texts, **given)
        return [await self.parts[0].aget_query_embedding(texts[0])]

    async def aembed_documents(self, texts: Sequence[str]) -> Any:
        if len(texts) == 1:
            return [await self.parts[0].aget_text_embedding(texts[0])]
        return await self.parts[0].aget_text_embedding_batch(texts)


class LlamaIndexReranker(_LlamaIndex, RerankerSubject):
    """`QwenRerank`: `postprocess_nodes`, and `rerank` where a call has wishes of its own."""

    name = "llama_index"
    kind = QwenRerank
    extras = {"top_n": 3, "score_threshold": 0.25, "keep_retrieval_score": False}  # noqa: RUF012

    def rerank(self, query: str, documents: Sequence[Any], **given: Any) -> Sequence[Any]:
        if given:
            return self.parts[0].rerank(query, documents, **given)
        return self.parts[0].postprocess_nodes(documents, query_str=query)

    async def arerank(self, query: str, documents: Sequence[Any], **given: Any) -> Sequence[Any]:
        if given:
            return await self.parts[0].arerank(query, documents, **given)
        return await self.parts[0].apostprocess_nodes(documents, query_str=query)

    @classmethod
    def wrap(cls, texts: Sequence[str]) -> list[Any]:
        # The metadata is hidden from embedders, so that the text alone is judged.
        return [
            NodeWithScore(
                node=TextNode(
                    id_=str(place),
                    text=text,
                    metadata={"nested": {"tags": ["a"]}},
                    excluded_embed_metadata_keys=["nested"],
                ),
                score=0.5,
            )
            for place, text in enumerate(texts)
        ]

    @classmethod
    def ranked(cls, results: Sequence[Any]) -> list[Ranked]:
        return [Ranked(int(each.node.node_id), each.score) for each in results]

    @classmethod
    def content(cls, document: Any) -> tuple[str, Any]:
        metadata = copy.deepcopy(document.node.metadata)
        metadata.pop("retrieval_score", None)
        return document.node.text, metadata


EMBEDDERS = [LlamaIndexEmbedder]
RERANKERS = [LlamaIndexReranker]
