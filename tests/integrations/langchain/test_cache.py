"""Cached vectors belong to one embedder, and queries never get a document's."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_classic.embeddings import CacheBackedEmbeddings
from langchain_core.stores import InMemoryByteStore

from langchain_qwen_retrieval import QueryCache, QwenEmbeddings

pytestmark = pytest.mark.usefixtures("doubled")


def cached(embeddings: QwenEmbeddings, store: InMemoryByteStore) -> CacheBackedEmbeddings:
    """Return the embeddings behind a cache of both roles, as the documentation shows it."""
    return CacheBackedEmbeddings.from_bytes_store(
        embeddings,
        store,
        namespace=embeddings.cache_namespace,
        key_encoder="sha256",
        query_embedding_cache=QueryCache(store),
    )


async def test_one_store_keeps_queries_and_documents_apart() -> None:
    """The same text has two vectors, from the cache too."""
    embeddings, store = QwenEmbeddings(), InMemoryByteStore()
    cache = cached(embeddings, store)
    for _ in range(2):
        assert cache.embed_documents(["a b"]) == embeddings.embed_documents(["a b"])
        assert cache.embed_query("a b") == embeddings.embed_query("a b")
        assert await cache.aembed_query("a b") == embeddings.embed_query("a b")
    assert cache.embed_query("a b") != cache.embed_documents(["a b"])[0]
    assert len(list(store.yield_keys())) == 2


def test_the_cache_answers_without_the_model() -> None:
    """What is cached is not computed again, by another object with the same settings either."""
    store = InMemoryByteStore()
    first = cached(QwenEmbeddings(), store)
    vector, [other] = first.embed_query("a"), first.embed_documents(["b"])
    closed = QwenEmbeddings()
    closed.close()
    assert cached(closed, store).embed_query("a") == vector
    assert cached(closed, store).embed_documents(["b"]) == [other]


def test_a_query_cache_shows_and_deletes_its_own_keys_only() -> None:
    """The documents of the shared store stay out of sight."""
    store = InMemoryByteStore()
    queries = QueryCache(store)
    store.mset([("a", b"document")])
    queries.mset([("a", b"1"), ("ab", b"2"), ("b", b"3")])
    assert list(queries.yield_keys()) == ["a", "ab", "b"]
    assert list(queries.yield_keys(prefix="a")) == ["a", "ab"]
    assert queries.mget(["a", "c"]) == [b"1", None]
    queries.mdelete(["a"])
    assert store.mget(["a"]) == [b"document"]
    assert queries.mget(["a"]) == [None]


DIFFERENT: list[dict[str, Any]] = [
    {"model": "Qwen/Qwen3-Embedding-4B"},
    {"revision": "abc"},
    {"query_instruction": "Find a definition"},
    {"query_prompt": "query: "},
    {"document_prompt": "text: "},
    {"prefixed_query": "as_is"},
    {"dimensions": 64},
    {"normalize": False},
    {"vector_type": "binary"},
    {"max_length": 100},
]


def test_the_namespace_differs_when_vectors_would() -> None:
    """Each of these settings changes it, and no two give the same."""
    namespaces = [QwenEmbeddings(**values).cache_namespace for values in ({}, *DIFFERENT)]
    assert len(set(namespaces)) == len(namespaces)


def test_the_namespace_stays_when_vectors_do() -> None:
    """How fast vectors are computed, and who may download, are no part of it."""
    plain = QwenEmbeddings().cache_namespace
    for values in ({"batch_size": 1}, {"device": "cpu"}, {"token": "x"}, {"progress_bar": True}):
        assert QwenEmbeddings(**values).cache_namespace == plain
