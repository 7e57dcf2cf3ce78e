"""Qwen3-Embedding, or any sentence-transformers model, as a LlamaIndex embedding model."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from llama_index.core.base.embeddings.base import BaseEmbedding, Embedding
from llama_index.core.bridge.pydantic import Field, model_validator
from llama_index.core.instrumentation import (  # type: ignore[attr-defined] # its documented place
    DISPATCHER_SPAN_DECORATED_ATTR,
)
from pydantic import SkipValidation

from llama_index.embeddings.qwen_retrieval.component import QwenComponent
from qwen_retrieval import Embedder, EmbedderSettings, open_embedder
from qwen_retrieval.catalog import DEFAULT_EMBEDDER
from qwen_retrieval.errors import SettingsError
from qwen_retrieval.settings import PrefixedQuery, Ranges, VectorType, require_same_embedder
from qwen_retrieval.vectors import quantize

if TYPE_CHECKING:
    from qwen_retrieval.contract import Vectors

MethodT = TypeVar("MethodT", bound=Callable[..., Any])


def _no_span(method: MethodT) -> MethodT:
    """Mark a method that only calls its original, so that tracing shows one span and not two."""
    setattr(method, DISPATCHER_SPAN_DECORATED_ATTR, True)
    return method


class QwenEmbedding(QwenComponent, BaseEmbedding):
    """Embeds nodes and queries, queries with their instruction, as the model was trained.

    The fields are those of `qwen_retrieval.EmbedderSettings`. ``embed_batch_size`` is LlamaIndex's:
    how many texts it hands over at once, among which the core sorts by length; ``batch_size`` is
    how many the model computes at once. ``model_name`` may be given instead of ``model``.

    An ``embeddings_cache`` serves documents only, and belongs to the embedder that filled it:
    LlamaIndex looks up the bare text, so a query would get a document's vector. Setting a field
    later takes effect with the next call, and
    ``model_copy(update={"query_instruction": ...})`` gives a second one that shares the weights.

    Raises:
        SettingsError: a setting is out of its range.
        IndexMismatchError: the cache was filled by another embedder.

    Example::

        VectorStoreIndex(nodes, embed_model=QwenEmbedding(dimensions=256))
    """

    model: SkipValidation[str] = DEFAULT_EMBEDDER
    query_instruction: SkipValidation[str | None] = None
    query_prompt: SkipValidation[str | None] = None
    document_prompt: SkipValidation[str | None] = None
    prefixed_query: SkipValidation[PrefixedQuery] = "refuse"
    dimensions: SkipValidation[int | None] = None
    normalize: SkipValidation[bool] = True
    vector_type: SkipValidation[VectorType] = "float32"
    vector_ranges: SkipValidation[Ranges | None] = None
    model_name: SkipValidation[str] = DEFAULT_EMBEDDER
    embed_batch_size: int = Field(default=2048, gt=0, le=2048)

    @model_validator(mode="before")
    @classmethod
    def _name_either_way(cls, values: dict[str, Any]) -> dict[str, Any]:
        name = values.get("model", values.get("model_name", DEFAULT_EMBEDDER))
        return {"model": name, "model_name": name, **values}

    @classmethod
    def class_name(cls) -> str:
        """Return the name that LlamaIndex serialises."""
        return "QwenEmbedding"

    @property
    def settings(self) -> EmbedderSettings:
        """The core's settings, from the fields as they are now."""
        if self.model_name != self.model:
            raise SettingsError(
                f"model is {self.model!r} and model_name {self.model_name!r}; give one of them."
            )
        return self._settings(EmbedderSettings)

    def embed_queries(
        self, queries: Sequence[str], *, instruction: str | None = None
    ) -> list[Embedding]:
        """Return the queries' vectors, many in one call and with an instruction of their own.

        ``instruction`` replaces ``query_instruction`` for this call; ``""`` leaves it out.
        """
        return self._lists(self._open().embed_queries(queries, instruction=instruction))

    async def aembed_queries(
        self, queries: Sequence[str], *, instruction: str | None = None
    ) -> list[Embedding]:
        """Return what `embed_queries` returns, without blocking the event loop."""
        vectors = await self._open().aembed_queries(queries, instruction=instruction)
        return await asyncio.to_thread(self._lists, vectors)

    @_no_span
    def get_query_embedding(self, query: str) -> Embedding:
        """Return the query's vector, never a document's from the ``embeddings_cache``."""
        return super(QwenEmbedding, self._uncached()).get_query_embedding(query)

    @_no_span
    async def aget_query_embedding(self, query: str) -> Embedding:
        """Return what `get_query_embedding` returns, without blocking the event loop."""
        return await super(QwenEmbedding, self._uncached()).aget_query_embedding(query)

    def _get_query_embedding(self, query: str) -> Embedding:
        return self.embed_queries([query])[0]

    async def _aget_query_embedding(self, query: str) -> Embedding:
        return (await self.aembed_queries([query]))[0]

    def _get_text_embedding(self, text: str) -> Embedding:
        return self._get_text_embeddings([text])[0]

    async def _aget_text_embedding(self, text: str) -> Embedding:
        return (await self._aget_text_embeddings([text]))[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[Embedding]:
        return self._lists(self._open().embed_documents(texts))

    async def _aget_text_embeddings(self, texts: list[str]) -> list[Embedding]:
        vectors = await self._open().aembed_documents(texts)
        # Thousands of wide vectors take long enough to become lists that the loop would stall.
        return await asyncio.to_thread(self._lists, vectors)

    def _open(self) -> Embedder:
        return self._opened.get(self.settings, open_embedder, self.token)

    def _uncached(self) -> QwenEmbedding:
        return self.model_copy(update={"embeddings_cache": None})

    def _check(self) -> None:
        if self.embeddings_cache is None:
            return
        mark = {"key": "embedder", "collection": "qwen_retrieval"}
        stored = self.embeddings_cache.get(**mark)
        if stored is None:
            self.embeddings_cache.put(val=self.settings.identity(), **mark)
        else:
            require_same_embedder(stored, self.settings)

    def _lists(self, vectors: Vectors) -> list[Embedding]:
        # Row by row, so that a thread at it can be interrupted.
        return [row.tolist() for row in quantize(vectors, self.vector_type, self.vector_ranges)]
