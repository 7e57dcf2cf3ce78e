"""The small interface that adapters, local models and servers meet at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from qwen_retrieval.settings import EmbedderSettings, RerankerSettings

    Vectors: TypeAlias = NDArray[np.float32]

Pair: TypeAlias = tuple[str, str]
"""A query and a document."""


@dataclass(frozen=True, slots=True)
class Ranked:
    """One document's place in the input and its score.

    Attributes:
        index: position in the list of documents that was given.
        score: P("yes") between 0 and 1, or the logit yes − no when the settings ask for it.
    """

    index: int
    score: float


@runtime_checkable
class Embedder(Protocol):
    """Turns texts into vectors; every method also exists with a leading ``a`` as a coroutine."""

    @property
    def settings(self) -> EmbedderSettings:
        """The settings it was opened with."""

    @property
    def dimensions(self) -> int:
        """Width of the vectors that come back; loads the model where only the model knows it."""

    def embed_queries(self, texts: Sequence[str], *, instruction: str | None = None) -> Vectors:
        """Return float32 vectors of shape (n, dimensions) for queries, with the instruction.

        ``instruction`` replaces the one from the settings for this call; ``""`` leaves it out.
        """

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Return float32 vectors of shape (n, dimensions) for documents, without instruction."""

    async def aembed_queries(
        self, texts: Sequence[str], *, instruction: str | None = None
    ) -> Vectors:
        """Return what `embed_queries` returns, without blocking the event loop."""

    async def aembed_documents(self, texts: Sequence[str]) -> Vectors:
        """Return what `embed_documents` returns, without blocking the event loop."""

    def close(self) -> None:
        """Give up the model; the last holder frees its memory. Later calls raise `ClosedError`."""

    async def aclose(self) -> None:
        """Do what `close` does."""


@runtime_checkable
class Reranker(Protocol):
    """Orders documents for a query; every method also exists as a coroutine."""

    @property
    def settings(self) -> RerankerSettings:
        """The settings it was opened with."""

    def rerank(
        self,
        query: str,
        documents: Sequence[str],
        *,
        instruction: str | None = None,
        top_n: int | None = None,
        score_threshold: float | None = None,
    ) -> list[Ranked]:
        """Return the documents' places and scores, best first; ties keep the input order.

        ``top_n=None`` returns all, ``0`` none. ``score_threshold`` drops what scores below it.
        """

    def score(self, pairs: Sequence[Pair], *, instruction: str | None = None) -> Vectors:
        """Return float32 scores of shape (n,) for (query, document) pairs, in the order given."""

    async def arerank(
        self,
        query: str,
        documents: Sequence[str],
        *,
        instruction: str | None = None,
        top_n: int | None = None,
        score_threshold: float | None = None,
    ) -> list[Ranked]:
        """Return what `rerank` returns, without blocking the event loop."""

    async def ascore(self, pairs: Sequence[Pair], *, instruction: str | None = None) -> Vectors:
        """Return what `score` returns, without blocking the event loop."""

    def close(self) -> None:
        """Give up the model; the last holder frees its memory. Later calls raise `ClosedError`."""

    async def aclose(self) -> None:
        """Do what `close` does."""
