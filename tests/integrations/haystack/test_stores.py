"""Vectors written to and found in real vector stores."""

from typing import Any

import pytest
from haystack import Document
from haystack.components.retrievers import InMemoryEmbeddingRetriever
from haystack.document_stores.in_memory import InMemoryDocumentStore
from haystack_integrations.components.retrievers.chroma import ChromaEmbeddingRetriever
from haystack_integrations.components.retrievers.qdrant import QdrantEmbeddingRetriever
from haystack_integrations.document_stores.chroma import ChromaDocumentStore
from haystack_integrations.document_stores.qdrant import QdrantDocumentStore

from haystack_integrations.components.embedders.qwen_retrieval import (
    QwenDocumentEmbedder,
    QwenTextEmbedder,
)
from haystack_integrations.components.rankers.qwen_retrieval import QwenRanker

from .conftest import Opened

DIMENSIONS = 64


def _in_memory() -> tuple[Any, Any]:
    store = InMemoryDocumentStore(embedding_similarity_function="cosine")
    return store, InMemoryEmbeddingRetriever(store)


def _chroma() -> tuple[Any, Any]:
    store = ChromaDocumentStore(collection_name="test_stores", distance_function="cosine")
    return store, ChromaEmbeddingRetriever(store)


def _qdrant() -> tuple[Any, Any]:
    store = QdrantDocumentStore(
        ":memory:", embedding_dim=DIMENSIONS, similarity="cosine", recreate_index=True
    )
    return store, QdrantEmbeddingRetriever(store)


@pytest.mark.parametrize("make", [_in_memory, _chroma, _qdrant])
def test_two_stages_find_the_document_in_a_real_store(
    opened: Opened, documents: list[Document], make: Any
) -> None:
    """Written, retrieved with its score, and reranked with that score kept."""
    store, retriever = make()
    embedded = QwenDocumentEmbedder(dimensions=DIMENSIONS).run(documents)["documents"]
    assert store.write_documents(embedded) == 4
    query = "which grass is green in summer"
    vector = QwenTextEmbedder(dimensions=DIMENSIONS).run(query)["embedding"]
    found = retriever.run(query_embedding=vector, top_k=3)["documents"]
    assert len(found) == 3
    assert found[0].id == "grass"
    ranked = QwenRanker(top_k=2).run(query, found)["documents"]
    assert ranked[0].id == "grass"
    assert ranked[0].content == "Grass is green all summer."
    assert ranked[0].meta["retrieval_score"] == found[0].score
