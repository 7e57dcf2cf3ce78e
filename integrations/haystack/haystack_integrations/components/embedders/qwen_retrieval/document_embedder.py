"""Documents to documents with vectors."""

from __future__ import annotations

import asyncio
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from haystack import Document, component

from haystack_integrations.common.qwen_retrieval.documents import check_fields, texts_of

from .base import EmbedderComponent

if TYPE_CHECKING:
    from qwen_retrieval.contract import Vectors


@component
@dataclass(kw_only=True, eq=False)
class QwenDocumentEmbedder(EmbedderComponent):
    """Gives copies of documents with their vectors in `embedding`.

    Takes every field of `qwen_retrieval.EmbedderSettings` under its own name, and `token`. Give all
    documents at once: the batches are then made of texts of like length.

    Attributes:
        meta_fields_to_embed: metadata put before the content, one after the other.
        embedding_separator: put between them.
    """

    meta_fields_to_embed: list[str] | None = None
    embedding_separator: str = "\n"

    def __post_init__(self) -> None:
        """Refuse wrong settings; nothing is loaded."""
        check_fields(self.meta_fields_to_embed)
        EmbedderComponent.__post_init__(self)

    @component.output_types(documents=list[Document])
    def run(self, documents: list[Document]) -> dict[str, list[Document]]:
        """Return ``{"documents": [...]}`` in the order given."""
        texts = texts_of(documents, self.meta_fields_to_embed, self.embedding_separator)
        vectors = self._open(self.settings).embed_documents(texts)
        return {"documents": self._with_vectors(documents, vectors)}

    @component.output_types(documents=list[Document])
    async def run_async(self, documents: list[Document]) -> dict[str, list[Document]]:
        """Return what `run` returns, without blocking the event loop."""
        texts = texts_of(documents, self.meta_fields_to_embed, self.embedding_separator)
        vectors = await self._open(self.settings).aembed_documents(texts)
        # Thousands of copies with wide vectors take long enough that the loop would notice.
        return {"documents": await asyncio.to_thread(self._with_vectors, documents, vectors)}

    def _with_vectors(self, documents: list[Document], vectors: Vectors) -> list[Document]:
        pairs = zip(documents, self._lists(vectors), strict=True)
        return [
            replace(document, embedding=vector, meta=deepcopy(document.meta))
            for document, vector in pairs
        ]
