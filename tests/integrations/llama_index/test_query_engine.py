"""Indexes, retrievers and query engines over LlamaIndex's own store, Chroma and Qdrant."""

from __future__ import annotations

import math
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from llama_index.core import Settings, StorageContext, VectorStoreIndex, load_index_from_storage
from llama_index.core.chat_engine import ContextChatEngine
from llama_index.core.ingestion import IngestionCache, IngestionPipeline
from llama_index.core.llms import MockLLM
from llama_index.core.memory import ChatMemoryBuffer
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.retrievers import QueryFusionRetriever
from llama_index.core.schema import TextNode
from llama_index.core.vector_stores import SimpleVectorStore

from llama_index.embeddings.qwen_retrieval import QwenEmbedding
from llama_index.postprocessor.qwen_retrieval import QwenRerank
from qwen_retrieval.testing import FakeEmbedder, FakeReranker

TEXTS = {
    "cats": "how cats sleep\nall day",
    "dogs": "dogs sleep at night",
    "rivers": "rivers run to the sea",
    "sea": "the sea is deep and blue",
}
QUESTION = "how do cats sleep"

pytestmark = pytest.mark.usefixtures("embedders", "rerankers")


def simple(_: Path) -> SimpleVectorStore:
    """Return LlamaIndex's own store."""
    return SimpleVectorStore()


def chroma(folder: Path) -> Any:
    """Return an empty Chroma collection, in a folder: all that are in memory share one store."""
    import chromadb
    from llama_index.vector_stores.chroma import ChromaVectorStore

    client = chromadb.PersistentClient(folder, chromadb.Settings(anonymized_telemetry=False))
    collection = client.create_collection("texts", configuration={"hnsw": {"space": "cosine"}})
    return ChromaVectorStore(chroma_collection=collection)


def qdrant(_: Path) -> Any:
    """Return an empty Qdrant collection in memory."""
    from llama_index.vector_stores.qdrant import QdrantVectorStore
    from qdrant_client import QdrantClient

    return QdrantVectorStore(
        collection_name="texts", client=QdrantClient(":memory:"), index_doc_id=False
    )


@pytest.fixture(params=[simple, chroma, qdrant], ids=["simple", "chroma", "qdrant"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    """Each vector store in turn, empty."""
    made = request.param(tmp_path)
    yield made
    if request.param is qdrant:
        made.client.close()


def text_nodes() -> list[TextNode]:
    """Return one node for each text; Qdrant and Chroma want ids that are UUIDs or plain."""
    return [
        TextNode(id_=str(uuid.uuid5(uuid.NAMESPACE_DNS, name)), text=text, metadata={"name": name},
                 excluded_embed_metadata_keys=["name"])
        for name, text in TEXTS.items()
    ]  # fmt: skip


def index_over(store: Any, **fields: Any) -> VectorStoreIndex:
    """Return an index of the nodes in the store."""
    context = StorageContext.from_defaults(vector_store=store)
    return VectorStoreIndex(
        text_nodes(), storage_context=context, embed_model=QwenEmbedding(**fields)
    )


def test_a_store_returns_the_nodes_by_the_cosine_of_their_vectors(store: Any) -> None:
    """Retrieval through the store is the embedder's order, with its scores."""
    found = index_over(store).as_retriever(similarity_top_k=5).retrieve(QUESTION)
    query = FakeEmbedder().embed_queries([QUESTION])[0]
    scores = FakeEmbedder().embed_documents(list(TEXTS.values())) @ query
    expected = sorted(zip(TEXTS, scores, strict=True), key=lambda pair: -pair[1])
    assert [each.metadata["name"] for each in found][:3] == [name for name, _ in expected][:3]
    wanted = dict(expected)
    for each in found:
        cosine = float(wanted[each.metadata["name"]])
        score = math.exp(cosine - 1) if "Chroma" in type(store).__name__ else cosine
        assert each.score == pytest.approx(score, abs=1e-5)  # LlamaIndex turns Chroma's distance so
        assert each.text == TEXTS[each.metadata["name"]]


def test_a_query_engine_retrieves_reranks_and_answers(
    store: Any, rerankers: list[FakeReranker]
) -> None:
    """The LLM sees the reranker's best nodes, and no score."""
    engine = index_over(store).as_query_engine(
        llm=MockLLM(), similarity_top_k=4, node_postprocessors=[QwenRerank(top_n=2)]
    )
    response = engine.query(QUESTION)
    assert [each.metadata["name"] for each in response.source_nodes] == ["cats", "dogs"]
    scores = FakeReranker().rerank(QUESTION, [TEXTS["cats"], TEXTS["dogs"]])
    assert [each.score for each in response.source_nodes] == [each.score for each in scores]
    assert all("retrieval_score" in each.metadata for each in response.source_nodes)
    assert TEXTS["cats"] in str(response)
    assert "retrieval_score" not in str(response)
    assert len(rerankers[0].seen) == 4


async def test_a_query_engine_answers_asynchronously() -> None:
    """``aquery`` gives what ``query`` gives."""
    engine = index_over(SimpleVectorStore()).as_query_engine(
        llm=MockLLM(), similarity_top_k=4, node_postprocessors=[QwenRerank(top_n=2)]
    )
    later, now = await engine.aquery(QUESTION), engine.query(QUESTION)
    assert str(later) == str(now)
    assert later.source_nodes == now.source_nodes
    assert len(now.source_nodes) == 2


async def test_an_asynchronous_qdrant_store_is_filled_and_asked() -> None:
    """Vectors made by the async way are found by the async way."""
    from llama_index.core.vector_stores import VectorStoreQuery
    from llama_index.vector_stores.qdrant import QdrantVectorStore
    from qdrant_client import AsyncQdrantClient

    client = AsyncQdrantClient(":memory:")
    store = QdrantVectorStore(collection_name="texts", aclient=client, index_doc_id=False)
    embedding = QwenEmbedding(dimensions=128)
    await store.async_add(list(await embedding.acall(text_nodes())))
    vector = await embedding.aget_query_embedding(QUESTION)
    found = await store.aquery(VectorStoreQuery(query_embedding=vector, similarity_top_k=1))
    await client.close()
    assert found.nodes is not None
    assert found.nodes[0].metadata["name"] == "cats"


def test_documents_are_stored_without_and_asked_with_instruction(
    embedders: list[FakeEmbedder],
) -> None:
    """The whole way through an index keeps the two roles apart, byte for byte."""
    index = index_over(SimpleVectorStore(), query_instruction="Find")
    index.as_retriever().retrieve("two\nlines ")
    assert embedders[0].seen == [*TEXTS.values(), "Instruct: Find\nQuery:two\nlines "]


def test_a_saved_index_is_asked_with_the_embedder_given_again(tmp_path: Path) -> None:
    """LlamaIndex does not save embedders; the vectors outlive the process."""
    index_over(SimpleVectorStore(), dimensions=64).storage_context.persist(str(tmp_path))
    index = load_index_from_storage(
        StorageContext.from_defaults(persist_dir=str(tmp_path)),
        embed_model=QwenEmbedding(dimensions=64),
    )
    [found] = index.as_retriever(similarity_top_k=1).retrieve(QUESTION)
    assert found.metadata["name"] == "cats"


def test_a_retriever_and_a_postprocessor_make_a_query_engine() -> None:
    """Put together by hand as well."""
    engine = RetrieverQueryEngine.from_args(
        index_over(SimpleVectorStore()).as_retriever(similarity_top_k=5),
        llm=MockLLM(),
        node_postprocessors=[QwenRerank(top_n=1, score_threshold=0.5)],
    )
    assert [each.metadata["name"] for each in engine.query(QUESTION).source_nodes] == ["cats"]


def test_a_chat_engine_takes_the_reranker() -> None:
    """Postprocessors of a chat are the same objects."""
    chat = ContextChatEngine.from_defaults(
        memory=ChatMemoryBuffer.from_defaults(llm=MockLLM()),
        retriever=index_over(SimpleVectorStore()).as_retriever(similarity_top_k=5),
        llm=MockLLM(),
        node_postprocessors=[QwenRerank(top_n=1)],
    )
    answer = chat.chat(QUESTION)
    assert [each.metadata["name"] for each in answer.source_nodes] == ["cats"]


def test_fused_retrievers_share_the_embedder() -> None:
    """Fusion of several retrievers ends in one reranking."""
    index = index_over(SimpleVectorStore())
    fused = QueryFusionRetriever(
        [index.as_retriever(similarity_top_k=3), index.as_retriever(similarity_top_k=4)],
        llm=MockLLM(),
        num_queries=1,
        use_async=False,
    )
    ranked = QwenRerank(top_n=1).postprocess_nodes(fused.retrieve(QUESTION), query_str=QUESTION)
    assert [each.metadata["name"] for each in ranked] == ["cats"]


def test_the_global_settings_stay_untouched() -> None:
    """An index and an engine with own models need no global ones."""
    before = (Settings._llm, Settings._embed_model)
    engine = index_over(SimpleVectorStore()).as_query_engine(
        llm=MockLLM(), node_postprocessors=[QwenRerank()]
    )
    engine.query(QUESTION)
    assert (Settings._llm, Settings._embed_model) == before


def test_an_ingestion_pipeline_computes_again_only_when_settings_differ(
    embedders: list[FakeEmbedder],
) -> None:
    """Its cache knows the embedder by all its settings."""
    cache = IngestionCache()

    def ingest(**fields: Any) -> int:
        pipeline = IngestionPipeline(transformations=[QwenEmbedding(**fields)], cache=cache)
        [node] = pipeline.run(nodes=[TextNode(id_="a", text="how cats sleep")])
        assert node.embedding is not None
        return len(node.embedding)

    assert [ingest(dimensions=d) for d in (64, 32, 64, 32)] == [64, 32, 64, 32]
    assert sum(len(each.seen) for each in embedders) == 2
