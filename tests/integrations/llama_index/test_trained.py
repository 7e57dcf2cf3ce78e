"""The whole way with real weights: the two small trained checkpoints."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from llama_index.core import VectorStoreIndex
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.llms import MockLLM
from llama_index.core.schema import TextNode

from llama_index.embeddings.qwen_retrieval import QwenEmbedding
from llama_index.postprocessor.qwen_retrieval import QwenRerank
from qwen_retrieval import EmbedderSettings, RerankerSettings, open_embedder, open_reranker

CPU: dict[str, Any] = {"device": "cpu", "dtype": "float32"}
QUESTION = "how do I turn a dictionary into a JSON string"
FUNCTIONS: tuple[Any, ...] = (
    len, sorted, zip, str.join, str.split, dict.update, list.append, bytes.hex, open, print,
)  # fmt: skip
JSON = "json.dumps(obj)\nSerialize ``obj`` to a JSON formatted ``str``."
TEXTS = [f"{f.__qualname__}\n{f.__doc__}" for f in FUNCTIONS] + [JSON]


def nodes() -> list[TextNode]:
    """Return the texts as nodes."""
    return [TextNode(id_=str(place), text=text) for place, text in enumerate(TEXTS)]


async def test_the_embedder_gives_what_the_core_gives(tiny_embedder: str) -> None:
    """Vectors are the core's, for queries and documents, sync and async."""
    embedding = QwenEmbedding(model=tiny_embedder, **CPU)
    core = open_embedder(EmbedderSettings(model=tiny_embedder, **CPU))
    documents, [query] = core.embed_documents(TEXTS), core.embed_queries([QUESTION])
    np.testing.assert_allclose(embedding.get_text_embedding_batch(TEXTS), documents, atol=1e-6)
    np.testing.assert_allclose(
        await embedding.aget_text_embedding_batch(TEXTS), documents, atol=1e-6
    )
    np.testing.assert_allclose(embedding.get_query_embedding(QUESTION), query, atol=1e-6)
    np.testing.assert_allclose(await embedding.aget_query_embedding(QUESTION), query, atol=1e-6)


def test_the_reranker_gives_what_the_core_gives(tiny_embedder: str, tiny_reranker: str) -> None:
    """An engine's source nodes are the core's best of the retrieved, with the core's scores."""
    engine = VectorStoreIndex(
        nodes(), embed_model=QwenEmbedding(model=tiny_embedder, **CPU)
    ).as_query_engine(
        llm=MockLLM(),
        similarity_top_k=len(TEXTS),
        node_postprocessors=[QwenRerank(model=tiny_reranker, top_n=3, **CPU)],
    )
    found = engine.query(QUESTION).source_nodes
    core = open_reranker(RerankerSettings(model=tiny_reranker, **CPU))
    expected = core.rerank(QUESTION, TEXTS, top_n=3)
    assert [each.node_id for each in found] == [str(each.index) for each in expected]
    assert [each.score for each in found] == pytest.approx([e.score for e in expected], abs=1e-6)
    assert found[0].text == JSON


def test_an_ingestion_pipeline_computes_the_same_in_two_processes(tiny_embedder: str) -> None:
    """Each worker opens the model for itself."""
    embedding = QwenEmbedding(model=tiny_embedder, dimensions=64, **CPU)
    expected = embedding.get_text_embedding_batch(TEXTS)
    pipeline = IngestionPipeline(transformations=[embedding], disable_cache=True)
    done = pipeline.run(nodes=nodes(), num_workers=2)
    assert [node.node_id for node in done] == [node.node_id for node in nodes()]
    np.testing.assert_allclose([node.embedding for node in done], expected, atol=1e-6)


async def test_an_already_loaded_embedder_is_used(tiny_embedder: str) -> None:
    """`from_loaded` takes a SentenceTransformer and the usual fields."""
    from sentence_transformers import SentenceTransformer

    loaded = SentenceTransformer(tiny_embedder, device="cpu", model_kwargs={"dtype": "float32"})
    embedding = QwenEmbedding.from_loaded(loaded, dimensions=64, query_instruction="Find")
    expected = QwenEmbedding(
        model=tiny_embedder, dimensions=64, query_instruction="Find", **CPU
    ).get_query_embedding(QUESTION)
    assert embedding.model == embedding.model_name == tiny_embedder
    np.testing.assert_allclose(embedding.get_query_embedding(QUESTION), expected, atol=1e-6)
    np.testing.assert_allclose(
        await copy.deepcopy(embedding).aget_query_embedding(QUESTION), expected, atol=1e-6
    )


def test_an_already_loaded_reranker_is_used(tiny_reranker: str) -> None:
    """`from_loaded` takes a CrossEncoder and the usual fields."""
    from sentence_transformers import CrossEncoder

    loaded = CrossEncoder(tiny_reranker, device="cpu", model_kwargs={"dtype": "float32"})
    given = [node.model_copy() for node in nodes()]
    scored = QwenRerank.from_loaded(loaded, top_n=2).rerank(QUESTION, with_scores(given))
    expected = QwenRerank(model=tiny_reranker, top_n=2, **CPU).rerank(QUESTION, with_scores(given))
    assert [each.node_id for each in scored] == [each.node_id for each in expected]
    assert [e.score for e in scored] == pytest.approx([e.score for e in expected], abs=1e-6)


def test_a_component_around_a_loaded_model_cannot_be_pickled(tiny_embedder: str) -> None:
    """Another process would load something else in silence."""
    import pickle

    from sentence_transformers import SentenceTransformer

    from qwen_retrieval.errors import SettingsError

    embedding = QwenEmbedding.from_loaded(SentenceTransformer(tiny_embedder, device="cpu"))
    with pytest.raises(SettingsError, match="save the model to a folder"):
        pickle.dumps(embedding)


def with_scores(given: list[TextNode]) -> list[Any]:
    """Return the nodes as a retriever gives them."""
    from llama_index.core.schema import NodeWithScore

    return [NodeWithScore(node=node, score=0.5) for node in given]
