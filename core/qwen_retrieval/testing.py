"""Doubles for tests of code that uses this library: real objects, no weights, no torch.

They keep the contract (shapes, unit length, order, errors, closing), read the instruction, and
answer by the words that texts share, so a small test corpus ranks as one would expect::

    from qwen_retrieval.testing import doubles

    with doubles():
        build_my_chain().invoke("…")     # every adapter opens a double instead of a model
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import numpy as np

from qwen_retrieval import prompts
from qwen_retrieval.catalog import DEFAULT_INSTRUCTION
from qwen_retrieval.checks import check_dimensions, check_threshold, check_top_n
from qwen_retrieval.errors import ClosedError
from qwen_retrieval.ranking import rank
from qwen_retrieval.settings import EmbedderSettings, RerankerSettings
from qwen_retrieval.texts import check_pairs, check_text, check_texts
from qwen_retrieval.vectors import cut_and_normalize

if TYPE_CHECKING:
    from qwen_retrieval.contract import Pair, Ranked, Vectors

WIDTH = 256


class FakeEmbedder:
    """An embedder whose vectors count hashed words; `seen` holds every text as a model sees it."""

    def __init__(
        self,
        settings: EmbedderSettings | None = None,
        *,
        token: str | None = None,  # noqa: ARG002 - the signature of the real one
        loaded: Any = None,  # noqa: ANN401, ARG002 - the same
        check: Any = None,  # noqa: ANN401, ARG002 - the same
    ) -> None:
        """Take settings as the real embedder does; there are no weights to share or load."""
        self.settings = EmbedderSettings() if settings is None else settings
        self.seen: list[str] = []
        self._closed = False

    @property
    def dimensions(self) -> int:
        """Width of the vectors."""
        if self.settings.dimensions is None:
            return WIDTH
        check_dimensions(self.settings.dimensions, 1, WIDTH, "FakeEmbedder")
        return self.settings.dimensions

    def embed_queries(self, texts: Sequence[str], *, instruction: str | None = None) -> Vectors:
        """Return vectors of the queries with their instruction."""
        queries = check_texts(texts, "query")
        settings = self.settings
        if settings.prefixed_query == "refuse":
            prompts.check_not_prefixed(queries)
        chosen = settings.query_instruction if instruction is None else instruction
        prefix = prompts.query_text("", DEFAULT_INSTRUCTION if chosen is None else chosen)
        if settings.query_prompt is not None and instruction is None:
            prefix = settings.query_prompt
        return self._vectors([q if prompts.is_prefixed(q) else prefix + q for q in queries])

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Return vectors of the documents."""
        prompt = self.settings.document_prompt or ""
        return self._vectors([prompt + text for text in check_texts(texts, "document")])

    async def aembed_queries(
        self, texts: Sequence[str], *, instruction: str | None = None
    ) -> Vectors:
        """Return what `embed_queries` returns."""
        return self.embed_queries(texts, instruction=instruction)

    async def aembed_documents(self, texts: Sequence[str]) -> Vectors:
        """Return what `embed_documents` returns."""
        return self.embed_documents(texts)

    def close(self) -> None:
        """Make later calls raise."""
        self._closed = True

    async def aclose(self) -> None:
        """Make later calls raise."""
        self.close()

    def _vectors(self, texts: list[str]) -> Vectors:
        _check_open(self, closed=self._closed)
        self.seen.extend(texts)
        vectors = np.zeros((len(texts), WIDTH), np.float32)
        for row, text in zip(vectors, texts, strict=True):
            row[0] = 0.01  # an empty text has a direction too
            for word in _words(text):
                row[_hash(word) % WIDTH] += 1
        return cut_and_normalize(vectors, self.dimensions, normalize=self.settings.normalize)


class FakeReranker:
    """A reranker that scores shared words; `seen` holds every prompt's user turn."""

    def __init__(
        self,
        settings: RerankerSettings | None = None,
        *,
        token: str | None = None,  # noqa: ARG002 - the signature of the real one
        loaded: Any = None,  # noqa: ANN401, ARG002 - the same
        check: Any = None,  # noqa: ANN401, ARG002 - the same
    ) -> None:
        """Take settings as the real reranker does; there are no weights to share or load."""
        self.settings = RerankerSettings() if settings is None else settings
        self.seen: list[str] = []
        self._closed = False

    def rerank(
        self,
        query: str,
        documents: Sequence[str],
        *,
        instruction: str | None = None,
        top_n: int | None = None,
        score_threshold: float | None = None,
    ) -> list[Ranked]:
        """Return the documents' places and scores, best first."""
        check_top_n(top_n)
        check_threshold(score_threshold)
        check_text(query, "query")
        pairs = [(query, document) for document in check_texts(documents, "document")]
        return rank(self.score(pairs, instruction=instruction), top_n, score_threshold)

    def score(self, pairs: Sequence[Pair], *, instruction: str | None = None) -> Vectors:
        """Return the share of the query's and instruction's words that a document has."""
        _check_open(self, closed=self._closed)
        chosen = self.settings.instruction if instruction is None else instruction
        logits = []
        for query, document in check_pairs(pairs):
            self.seen.append(prompts.reranker_head(query, chosen) + document)
            asked, found = _words(query), _words(document)
            extra = set() if chosen is None else _words(chosen) & found
            logits.append(4 * len(asked & found) / max(len(asked), 1) + 0.1 * len(extra) - 2)
        values = np.asarray(logits, np.float32)
        if self.settings.score_type == "logit":
            return values
        return (1 / (1 + np.exp(-values))).astype(np.float32)

    async def arerank(
        self,
        query: str,
        documents: Sequence[str],
        *,
        instruction: str | None = None,
        top_n: int | None = None,
        score_threshold: float | None = None,
    ) -> list[Ranked]:
        """Return what `rerank` returns."""
        return self.rerank(
            query,
            documents,
            instruction=instruction,
            top_n=top_n,
            score_threshold=score_threshold,
        )

    async def ascore(self, pairs: Sequence[Pair], *, instruction: str | None = None) -> Vectors:
        """Return what `score` returns."""
        return self.score(pairs, instruction=instruction)

    def close(self) -> None:
        """Make later calls raise."""
        self._closed = True

    async def aclose(self) -> None:
        """Make later calls raise."""
        self.close()


@contextmanager
def doubles() -> Iterator[None]:
    """Make `open_embedder` and `open_reranker`, hence every adapter, open the doubles above."""
    with (
        patch("qwen_retrieval.local.embedder.LocalEmbedder", FakeEmbedder),
        patch("qwen_retrieval.local.reranker.LocalReranker", FakeReranker),
        patch("qwen_retrieval.servers.embedder.ServerEmbedder", FakeEmbedder),
        patch("qwen_retrieval.servers.reranker.ServerReranker", FakeReranker),
    ):
        yield


def _check_open(model: FakeEmbedder | FakeReranker, *, closed: bool) -> None:
    if closed:
        raise ClosedError(f"this {type(model).__name__} is closed; open another one.")


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.lower()))


def _hash(word: str) -> int:
    return int.from_bytes(hashlib.blake2b(word.encode(), digest_size=4).digest())
