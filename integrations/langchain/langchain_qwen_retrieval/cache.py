"""`QueryCache`: keeps the vectors of queries apart from those of documents."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from langchain_core.stores import BaseStore

PREFIX = "query-"


class QueryCache(BaseStore[str, bytes]):
    """A view of a byte store that keeps query vectors under names of their own.

    ``CacheBackedEmbeddings`` names a vector by its text alone, so with
    ``query_embedding_cache=True`` a query that is also a document gets the document's vector.
    This keeps both in one store::

        CacheBackedEmbeddings.from_bytes_store(
            embeddings, store, namespace=embeddings.cache_namespace, key_encoder="sha256",
            query_embedding_cache=QueryCache(store),
        )
    """

    def __init__(self, store: BaseStore[str, bytes]) -> None:
        """Take the store that also holds the documents' vectors."""
        self.store = store

    def mget(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return the values of the keys, None where there is none."""
        return self.store.mget([PREFIX + key for key in keys])

    def mset(self, key_value_pairs: Sequence[tuple[str, bytes]]) -> None:
        """Store the values."""
        self.store.mset([(PREFIX + key, value) for key, value in key_value_pairs])

    def mdelete(self, keys: Sequence[str]) -> None:
        """Delete the values of the keys."""
        self.store.mdelete([PREFIX + key for key in keys])

    def yield_keys(self, *, prefix: str | None = None) -> Iterator[str]:
        """Yield the keys of queries that begin with the prefix."""
        for key in self.store.yield_keys(prefix=PREFIX + ("" if prefix is None else prefix)):
            yield key.removeprefix(PREFIX)
