"""Clients of a fault server, sync or async, and whether what they return is right."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from typing import Any, Literal

import numpy as np

from contract.reference import ReferenceEmbedder, ReferenceReranker
from qwen_retrieval import EmbedderSettings, RerankerSettings, open_embedder, open_reranker
from qwen_retrieval.errors import ServerTimeoutError
from servers.fault_server import FaultServer
from servers.networks import EMBEDDER, LOADING, RERANKER

QUERY = "How do I copy a file with its metadata?"
TEXTS = (
    "shutil.copy2\nLike copy() but also preserves file metadata.",
    "Return the sine of x (measured in radians).",
    "Copy a file to another place, with its metadata.",
    "Open a socket and listen.",
    "Remove a directory tree.",
)
TOLERANCE = 1e-4

Way = Literal["sync", "async"]


def open_client(server: FaultServer, *, token: str | None = None, **values: Any) -> Any:
    """Return an embedder or reranker whose server is this one."""
    given = {"server": server.engine.name, "base_url": server.url, "timeout": 10.0, **values}
    if server.engine.name == "dashscope":  # which else stands for a model of its own
        given.setdefault("served_model", server.engine.model)
    if server.engine.setup.serves == "embedder":
        settings = {"model": str(EMBEDDER), **given}
        return open_embedder(EmbedderSettings(**settings), token=token)
    return open_reranker(RerankerSettings(**{"model": str(RERANKER), **given}), token=token)


def call(client: Any, texts: Sequence[str] = TEXTS) -> Any:
    """Return vectors, or places and scores, of these texts."""
    if hasattr(client, "rerank"):
        return client.rerank(QUERY, list(texts))
    return client.embed_documents(list(texts))


async def acall(client: Any, texts: Sequence[str] = TEXTS) -> Any:
    """Return the same by the coroutine."""
    if hasattr(client, "arerank"):
        return await client.arerank(QUERY, list(texts))
    return await client.aembed_documents(list(texts))


class Client:
    """A client used by its methods or by its coroutines, one call after the other."""

    def __init__(self, server: FaultServer, *, way: Way, **values: Any) -> None:
        self.client = open_client(server, **values)
        self._runner = asyncio.Runner() if way == "async" else None

    def use(self, texts: Sequence[str] = TEXTS) -> Any:
        """Return what one call gives."""
        if self._runner is None:
            return call(self.client, texts)
        return self._runner.run(acall(self.client, texts))

    def warm(self) -> None:
        """Be answered once, however long that takes a machine with other work."""
        for _ in range(9):
            with suppress(ServerTimeoutError):
                self.use()
                return
        self.use()

    def close_inner(self) -> None:
        """Close the client, and keep the event loop."""
        if self._runner is None:
            self.client.close()
        else:
            self._runner.run(self.client.aclose())

    def close(self) -> None:
        """Close it."""
        self.close_inner()
        if self._runner is not None:
            self._runner.close()


def prepare() -> None:
    """Compute what `is_right` compares with, so that no thread waits for it later."""
    for each in TEXTS:
        _embedder().vector(each)
        _reranker().probability(QUERY, each)


def is_right(found: Any, texts: Sequence[str] = TEXTS) -> bool:
    """Say whether every text has its own result, in the order that was asked for."""
    if isinstance(found, np.ndarray):
        expected = np.stack([_embedder().vector(text) for text in texts])
        return found.shape == expected.shape and bool(np.abs(found - expected).max() < TOLERANCE)
    scores = [_reranker().probability(QUERY, text) for text in texts]
    order = sorted(range(len(texts)), key=lambda place: -scores[place])
    return [each.index for each in found] == order and all(
        abs(each.score - scores[each.index]) < TOLERANCE for each in found
    )


def _embedder() -> ReferenceEmbedder:
    with LOADING:
        return _loaded_embedder()


def _reranker() -> ReferenceReranker:
    with LOADING:
        return _loaded_reranker()


@cache
def _loaded_embedder() -> ReferenceEmbedder:
    return ReferenceEmbedder(EMBEDDER)


@cache
def _loaded_reranker() -> ReferenceReranker:
    return ReferenceReranker(RERANKER)
