"""Vector stores index with one role of the embedder and search with the other."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeAlias

import pytest
from chromadb.config import Settings
from langchain_chroma import Chroma
from langchain_core.documents import Document
from langchain_core.vectorstores import InMemoryVectorStore, VectorStore
from langchain_qdrant import QdrantVectorStore

from langchain_qwen_retrieval import QwenEmbeddings
from qwen_retrieval.catalog import DEFAULT_INSTRUCTION
from qwen_retrieval.testing import FakeEmbedder

pytestmark = pytest.mark.usefixtures("doubled")

TEXTS = ["a dog barks", "the black\ncat sleeps", "rain in the morning", "a cat", "two birds sing"]
QUERY = "black cat"

Build: TypeAlias = Callable[[list[Document], QwenEmbeddings], VectorStore]


def in_memory(documents: list[Document], embeddings: QwenEmbeddings) -> VectorStore:
    """Return LangChain's own store."""
    return InMemoryVectorStore.from_documents(documents, embeddings)


def chroma(folder: Path, documents: list[Document], embeddings: QwenEmbeddings) -> VectorStore:
    """Return Chroma in a folder of its own, for in memory it has one store for the process."""
    return Chroma.from_documents(
        documents,
        embeddings,
        collection_name="texts",
        collection_metadata={"hnsw:space": "cosine"},
        persist_directory=str(folder),
        client_settings=Settings(anonymized_telemetry=False),
    )


def qdrant(documents: list[Document], embeddings: QwenEmbeddings) -> VectorStore:
    """Return Qdrant in memory."""
    return QdrantVectorStore.from_documents(documents, embeddings, location=":memory:")


@pytest.fixture(params=[in_memory, chroma, qdrant])
def build(request: pytest.FixtureRequest, tmp_path: Path) -> Build:
    """Return what builds a store."""
    found: Build = partial(chroma, tmp_path) if request.param is chroma else request.param
    return found


async def test_a_store_gives_the_models_own_order_and_metadata(build: Build) -> None:
    """Every store ranks as the dot products of the model's vectors do, sync and async."""
    embeddings = QwenEmbeddings(dimensions=128)
    documents = [Document(text, metadata={"place": n}) for n, text in enumerate(TEXTS)]
    store = build(documents, embeddings)
    core = FakeEmbedder(embeddings.settings)
    scores = core.embed_documents(TEXTS) @ core.embed_queries([QUERY])[0]
    order = sorted(range(len(TEXTS)), key=lambda place: -scores[place])[:3]
    for found in (
        store.similarity_search(QUERY, k=3),
        await store.asimilarity_search(QUERY, k=3),
        store.as_retriever(search_kwargs={"k": 3}).invoke(QUERY),
    ):
        assert [document.metadata["place"] for document in found] == order
        assert [document.page_content for document in found] == [TEXTS[place] for place in order]


def test_a_store_embeds_each_role_as_the_model_wants_it(build: Build) -> None:
    """Documents arrive unmodified and together, the query with its instruction."""
    embeddings = QwenEmbeddings()
    store = build([Document(text) for text in TEXTS], embeddings)
    store.similarity_search(QUERY, k=1)
    model = embeddings._model
    assert isinstance(model, FakeEmbedder)
    documents = [text for text in model.seen if not text.startswith("Instruct: ")]
    assert documents[-len(TEXTS) :] == TEXTS
    assert set(documents) - set(TEXTS) <= {"dummy_text"}  # Qdrant's probe for the width
    assert model.seen[-1] == f"Instruct: {DEFAULT_INSTRUCTION}\nQuery:{QUERY}"


def test_scores_of_a_store_are_cosines_of_unit_vectors(build: Build) -> None:
    """Vectors cut to fewer dimensions are unit length, so scores stay comparable."""
    embeddings = QwenEmbeddings(dimensions=64)
    store = build([Document(text) for text in TEXTS], embeddings)
    found = store.similarity_search_with_score(QUERY, k=len(TEXTS))
    core = FakeEmbedder(embeddings.settings)
    for document, score in found:
        [vector] = core.embed_documents([document.page_content])
        cosine = float(vector @ core.embed_queries([QUERY])[0])
        # Chroma gives distances.
        assert (1 - score if isinstance(store, Chroma) else score) == pytest.approx(
            cosine, abs=1e-5
        )
