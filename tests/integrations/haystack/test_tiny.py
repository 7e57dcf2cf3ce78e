"""The whole way with real weights: the two small trained checkpoints."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from haystack import Document, Pipeline
from haystack.components.retrievers import InMemoryEmbeddingRetriever
from haystack.components.writers import DocumentWriter
from haystack.document_stores.in_memory import InMemoryDocumentStore

from haystack_integrations.components.embedders.qwen_retrieval import (
    QwenDocumentEmbedder,
    QwenTextEmbedder,
)
from haystack_integrations.components.rankers.qwen_retrieval import QwenRanker
from qwen_retrieval import EmbedderSettings, RerankerSettings, open_embedder, open_reranker

TINY = Path(__file__).resolve().parents[2] / "tiny"
EMBEDDER, RERANKER = str(TINY / "embedder"), str(TINY / "reranker")
CPU: dict[str, Any] = {"device": "cpu", "dtype": "float32"}
QUESTION = "how do I turn a dictionary into a JSON string"
FUNCTIONS: tuple[Any, ...] = (
    len, sorted, zip, str.join, str.split, dict.update, list.append, bytes.hex, open, print,
)  # fmt: skip
JSON = "json.dumps(obj)\nSerialize ``obj`` to a JSON formatted ``str``."
TEXTS = [f"{function.__qualname__}\n{function.__doc__}" for function in FUNCTIONS] + [JSON]


def documents() -> list[Document]:
    """Return the texts, each under its place."""
    return [Document(id=str(place), content=text) for place, text in enumerate(TEXTS)]


def index() -> InMemoryDocumentStore:
    """Return a store that a pipeline wrote the embedded texts to."""
    store = InMemoryDocumentStore()
    pipeline = Pipeline()
    pipeline.add_component("embedder", QwenDocumentEmbedder(model=EMBEDDER, **CPU))
    pipeline.add_component("writer", DocumentWriter(store))
    pipeline.connect("embedder.documents", "writer.documents")
    pipeline.run({"embedder": {"documents": documents()}})
    pipeline.close()
    return store


def two_stages(store: InMemoryDocumentStore) -> Pipeline:
    """Return a pipeline that retrieves everything and keeps the best three."""
    pipeline = Pipeline()
    pipeline.add_component("embedder", QwenTextEmbedder(model=EMBEDDER, **CPU))
    pipeline.add_component("retriever", InMemoryEmbeddingRetriever(store, top_k=len(TEXTS)))
    pipeline.add_component("ranker", QwenRanker(model=RERANKER, top_k=3, **CPU))
    pipeline.connect("embedder.embedding", "retriever.query_embedding")
    pipeline.connect("retriever.documents", "ranker.documents")
    return pipeline


async def test_vectors_are_the_cores() -> None:
    """For queries and documents, sync and async, cut to fewer dimensions or not."""
    for dimensions in (None, 32):
        values: dict[str, Any] = {"model": EMBEDDER, "dimensions": dimensions, **CPU}
        core = open_embedder(EmbedderSettings(**values))
        texts, embedder = QwenDocumentEmbedder(**values), QwenTextEmbedder(**values)
        expected, [query] = core.embed_documents(TEXTS), core.embed_queries([QUESTION])
        for found in (texts.run(documents()), await texts.run_async(documents())):
            vectors = [document.embedding for document in found["documents"]]
            np.testing.assert_allclose(np.array(vectors), expected, atol=1e-6)
        for one in (embedder.run(QUESTION), await embedder.run_async(QUESTION)):
            np.testing.assert_allclose(np.array(one["embedding"]), query, atol=1e-6)
            assert np.linalg.norm(one["embedding"]) == pytest.approx(1, abs=1e-5)


async def test_two_stages_give_the_cores_order_and_scores() -> None:
    """In a pipeline, sync and async, and the one saved and loaded again."""
    core = open_reranker(RerankerSettings(model=RERANKER, **CPU))
    best = core.rerank(QUESTION, TEXTS, top_n=3)
    pipeline = two_stages(index())
    again = Pipeline.loads(pipeline.dumps())
    data = {"embedder": {"text": QUESTION}, "ranker": {"query": QUESTION}}
    for output in (pipeline.run(data), await pipeline.run_async(data), again.run(data)):
        found = output["ranker"]["documents"]
        assert [document.id for document in found] == [str(each.index) for each in best]
        scores = [document.score for document in found]
        assert scores == pytest.approx([each.score for each in best], abs=1e-6)
        assert found[0].content == JSON


def test_logits_and_probabilities_are_of_one_kind() -> None:
    """Per call, from the same weights: probability = sigmoid(logit)."""
    ranker = QwenRanker(model=RERANKER, **CPU)
    probabilities = ranker.run(QUESTION, documents())["documents"]
    logits = ranker.run(QUESTION, documents(), scale_score=False)["documents"]
    assert [each.id for each in logits] == [each.id for each in probabilities]
    expected = 1 / (1 + np.exp(-np.array([each.score for each in logits])))
    np.testing.assert_allclose([each.score for each in probabilities], expected, atol=1e-6)


def test_loaded_models_are_used_as_they_are() -> None:
    """A SentenceTransformer and a CrossEncoder that the user loaded give the same results."""
    from sentence_transformers import CrossEncoder, SentenceTransformer

    # The checkpoints are stored in bfloat16, which sentence-transformers would keep.
    float32: dict[str, Any] = {"device": "cpu", "model_kwargs": {"dtype": "float32"}}
    embedder = QwenTextEmbedder.from_loaded(SentenceTransformer(EMBEDDER, **float32))
    expected = QwenTextEmbedder(model=EMBEDDER, **CPU).run(QUESTION)["embedding"]
    np.testing.assert_allclose(embedder.run(QUESTION)["embedding"], expected, atol=1e-5)
    assert embedder.settings.model == EMBEDDER
    ranker = QwenRanker.from_loaded(CrossEncoder(RERANKER, **float32))
    found = ranker.run(QUESTION, documents())["documents"]
    reference = QwenRanker(model=RERANKER, **CPU).run(QUESTION, documents())["documents"]
    assert [each.id for each in found] == [each.id for each in reference]
    scores = [each.score for each in reference]
    np.testing.assert_allclose([each.score for each in found], scores, atol=1e-5)
