"""LangChain's own suites: they check shapes, and that nothing they expect is missing."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_classic.retrievers import ContextualCompressionRetriever
from langchain_core.embeddings import Embeddings
from langchain_core.retrievers import BaseRetriever
from langchain_core.vectorstores import InMemoryVectorStore
from langchain_tests.integration_tests import EmbeddingsIntegrationTests, RetrieversIntegrationTests
from langchain_tests.unit_tests import EmbeddingsUnitTests

from langchain_qwen_retrieval import QwenEmbeddings, QwenReranker

from .conftest import TINY

TEXTS = [
    "Return the number of items in a container.",
    "Sort the list in ascending order and return None.",
    "Open a file and return a stream.",
    "Return the absolute value of the argument.",
    "Split the string at the separator.",
]


@pytest.mark.usefixtures("doubled")
class TestUnit(EmbeddingsUnitTests):
    """On doubles."""

    @property
    def embeddings_class(self) -> type[Embeddings]:
        """Return ours."""
        return QwenEmbeddings


class TestIntegration(EmbeddingsIntegrationTests):
    """On the small trained embedder."""

    @property
    def embeddings_class(self) -> type[Embeddings]:
        """Return ours."""
        return QwenEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        """Return where the model lies."""
        return {"model": str(TINY / "embedder"), "dtype": "float32"}


class TwoStages(ContextualCompressionRetriever):
    """Both stages as one retriever, with the number of documents where the suite looks for it."""

    def __init__(self, *, k: int = 4, **fields: Any) -> None:
        embeddings = QwenEmbeddings(model=str(TINY / "embedder"), dtype="float32")
        store = InMemoryVectorStore.from_texts(TEXTS, embeddings)
        reranker = QwenReranker(model=str(TINY / "reranker"), dtype="float32")
        super().__init__(
            base_compressor=reranker,
            base_retriever=store.as_retriever(search_kwargs={"k": k}),
            **fields,
        )


class TestRetriever(RetrieversIntegrationTests):
    """The two small trained models behind LangChain's compression retriever."""

    @property
    def retriever_constructor(self) -> type[BaseRetriever]:
        """Return both stages."""
        return TwoStages

    @property
    def retriever_query_example(self) -> str:
        """Return a question in plain words."""
        return "how many elements are there"
