"""nDCG@10, BM25, and ranking by vectors: plain functions on plain arrays."""

from __future__ import annotations

from collections.abc import Sequence

import bm25s
import numpy as np
import Stemmer
from numpy.typing import NDArray


def ndcg(ranking: Sequence[int], relevant: set[int], cutoff: int = 10) -> float:
    """Return nDCG of one ranking with binary gains, as trec_eval computes it."""
    gains = [1.0 if index in relevant else 0.0 for index in ranking[:cutoff]]
    discounts = 1.0 / np.log2(np.arange(2, cutoff + 2))
    ideal = discounts[: min(cutoff, len(relevant))].sum()
    return float(np.dot(gains, discounts[: len(gains)]) / ideal)


def mean_ndcg(rankings: Sequence[Sequence[int]], relevant: Sequence[set[int]]) -> float:
    """Return the mean nDCG@10 over the questions."""
    return float(np.mean([ndcg(r, g) for r, g in zip(rankings, relevant, strict=True)]))


def top_by_vectors(
    queries: NDArray[np.float32], documents: NDArray[np.float32], k: int = 10
) -> list[list[int]]:
    """Return, for each query vector, the k documents nearest by cosine, best first."""
    q = queries / (np.linalg.norm(queries, axis=1, keepdims=True) + 1e-12)
    d = documents / (np.linalg.norm(documents, axis=1, keepdims=True) + 1e-12)
    scores = q @ d.T
    return [list(map(int, row)) for row in np.argsort(-scores, axis=1, kind="stable")[:, :k]]


class BM25:
    """BM25 as the project sets it: lucene, k1 1.5, b 0.75, English stemmer and stop words."""

    def __init__(self, documents: Sequence[str]) -> None:
        """Index the documents."""
        self._stemmer = Stemmer.Stemmer("english")
        self._retriever = bm25s.BM25(method="lucene", k1=1.5, b=0.75)
        self._count = len(documents)
        self._retriever.index(self._tokens(list(documents)), show_progress=False)

    def _tokens(self, texts: list[str]) -> bm25s.tokenization.Tokenized:
        return bm25s.tokenize(texts, stopwords="en", stemmer=self._stemmer, show_progress=False)

    def top(
        self, queries: Sequence[str], k: int = 10
    ) -> tuple[list[list[int]], NDArray[np.float32]]:
        """Return the k best documents of each query and their scores."""
        found = self._retriever.retrieve(
            self._tokens(list(queries)), k=min(k, self._count), show_progress=False
        )
        return [list(map(int, row)) for row in found.documents], found.scores
