"""Both stages on the small trained models, beside the core alone."""

from __future__ import annotations

import asyncio
import pickle

import numpy as np
import pytest
from langchain_classic.retrievers import ContextualCompressionRetriever
from langchain_core.documents import Document
from langchain_core.load import dumps, loads
from langchain_core.vectorstores import InMemoryVectorStore
from sentence_transformers import CrossEncoder, SentenceTransformer

from langchain_qwen_retrieval import QwenCrossEncoder, QwenEmbeddings, QwenReranker
from qwen_retrieval import EmbedderSettings, RerankerSettings, open_embedder, open_reranker

TEXTS = [
    "list.sort(*, key=None, reverse=False)\n\nSort the list in ascending order and return None.",
    "open(file, mode='r')\n\nOpen file and return a stream. Raise OSError upon failure.",
    "len(obj, /)\n\nReturn the number of items in a container.",
    "abs(x, /)\n\nReturn the absolute value of the argument.",
    "str.split(self, /, sep=None)\n\nReturn a list of the substrings in the string.",
    "collections.Counter(iterable=None, /)\n\nDict subclass for counting hashable items.",
]
QUERY = "how do I sort a list"


async def test_two_stages_give_the_cores_answer(tiny_embedder: str, tiny_reranker: str) -> None:
    """Order and scores of the chain are those of the core alone, sync and async."""
    embeddings = QwenEmbeddings(model=tiny_embedder, dtype="float32", dimensions=64)
    reranker = QwenReranker(model=tiny_reranker, dtype="float32", top_n=3)
    store = InMemoryVectorStore.from_texts(TEXTS, embeddings)
    two_stages = ContextualCompressionRetriever(
        base_compressor=reranker, base_retriever=store.as_retriever(search_kwargs={"k": 5})
    )
    embedder = open_embedder(EmbedderSettings(model=tiny_embedder, dtype="float32", dimensions=64))
    near = embedder.embed_documents(TEXTS) @ embedder.embed_queries([QUERY])[0]
    retrieved = [TEXTS[place] for place in np.argsort(-near)[:5]]
    core = open_reranker(RerankerSettings(model=tiny_reranker, dtype="float32"))
    ranked = core.rerank(QUERY, retrieved, top_n=3)
    for found in (two_stages.invoke(QUERY), await two_stages.ainvoke(QUERY)):
        assert [d.page_content for d in found] == [retrieved[each.index] for each in ranked]
        scores = [document.metadata["relevance_score"] for document in found]
        np.testing.assert_allclose(scores, [each.score for each in ranked], atol=1e-6)


@pytest.mark.filterwarnings("ignore:.*loads.*is in beta")
def test_what_is_read_back_answers_the_same(tiny_embedder: str, tiny_reranker: str) -> None:
    """From LangChain's own writing and from a pickle."""
    embeddings = QwenEmbeddings(model=tiny_embedder, dtype="float32", query_instruction="Find it")
    reranker = QwenReranker(model=tiny_reranker, dtype="float32", score_type="logit")
    vector, ranked = embeddings.embed_query(QUERY), reranker.rerank(TEXTS, QUERY)
    read = loads(
        dumps([embeddings, reranker]),
        allowed_objects=[QwenEmbeddings, QwenReranker],
        valid_namespaces=["langchain_qwen_retrieval"],
    )
    pickled = pickle.loads(pickle.dumps((embeddings, reranker)))  # noqa: S301 - our own
    for some_embeddings, some_reranker in (read, pickled):
        np.testing.assert_allclose(some_embeddings.embed_query(QUERY), vector, atol=1e-6)
        assert some_reranker.rerank(TEXTS, QUERY) == ranked


def test_an_already_loaded_model_gives_the_same_results(
    tiny_embedder: str, tiny_reranker: str
) -> None:
    """Weights are not loaded again, and are named after where they came from."""
    embedder = SentenceTransformer(tiny_embedder, device="cpu", model_kwargs={"dtype": "float32"})
    ours = QwenEmbeddings.from_loaded(embedder)
    plain = QwenEmbeddings(model=tiny_embedder, dtype="float32")
    assert ours.settings.model == tiny_embedder
    assert ours.cache_namespace == plain.cache_namespace
    np.testing.assert_allclose(ours.embed_query(QUERY), plain.embed_query(QUERY), atol=1e-5)
    np.testing.assert_allclose(ours.embed_documents(TEXTS), plain.embed_documents(TEXTS), atol=1e-5)
    reranker = CrossEncoder(tiny_reranker, device="cpu", model_kwargs={"dtype": "float32"})
    pairs = [(QUERY, text) for text in TEXTS]
    np.testing.assert_allclose(
        QwenCrossEncoder.from_loaded(reranker).score(pairs),
        QwenCrossEncoder(model=tiny_reranker, dtype="float32").score(pairs),
        atol=1e-5,
    )


async def test_many_calls_at_once_give_the_serial_results(
    tiny_embedder: str, tiny_reranker: str
) -> None:
    """Both classes are used by one event loop as a server would."""
    embeddings = QwenEmbeddings(model=tiny_embedder, dtype="float32")
    reranker = QwenReranker(model=tiny_reranker, dtype="float32")
    documents = [Document(text) for text in TEXTS]
    vectors = await asyncio.gather(*(embeddings.aembed_query(text) for text in TEXTS))
    found = await asyncio.gather(*(reranker.acompress_documents(documents, q) for q in TEXTS))
    for text, vector, kept in zip(TEXTS, vectors, found, strict=True):
        np.testing.assert_allclose(vector, embeddings.embed_query(text), atol=1e-5)
        serial = reranker.compress_documents(documents, text)
        assert [d.page_content for d in kept] == [d.page_content for d in serial]
    embeddings.close()
    reranker.close()
