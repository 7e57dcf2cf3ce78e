"""Exact nearest neighbours, block by block, so that memory does not grow with the documents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from qwen_retrieval.vectors import cut_and_normalize

if TYPE_CHECKING:
    from qwen_retrieval.contract import Vectors

BLOCK = 8_192
"""Documents compared at once."""
QUERIES = 512
"""Queries compared at once."""
_PLACES = np.uint64(2**32 - 1)


@dataclass(frozen=True, slots=True)
class Ranking:
    """The best documents of each query.

    Attributes:
        places: of documents, best first, of shape (queries, k); −1 where there are no more.
        scores: of the same shape; −inf where there are no more.
    """

    places: NDArray[np.int64]
    scores: Vectors

    def cut(self, k: int) -> Ranking:
        """Return the k best of each query."""
        return Ranking(self.places[:, :k], self.scores[:, :k])

    def without(self, excluded: Sequence[int]) -> Ranking:
        """Return it without one place a query, −1 for none; what is behind that moves up."""
        hit = (self.places == np.array(excluded)[:, None]) & (self.places >= 0)
        order = np.argsort(hit, axis=1, kind="stable")
        places, scores = np.where(hit, -1, self.places), np.where(hit, -np.inf, self.scores)
        return Ranking(
            np.take_along_axis(places, order, axis=1),
            np.take_along_axis(scores.astype(np.float32), order, axis=1),
        )


class TopK:
    """Keeps the k best of each query while scores come in block by block; ties keep their order.

    A score and its place are packed into one integer, which sorts as the pair of them would.
    """

    def __init__(self, queries: int, k: int) -> None:
        """Begin with nothing found."""
        self._best = np.zeros((queries, k), np.uint64)

    def add(self, scores: Vectors, first: int, rows: slice = slice(None)) -> None:
        """Count in scores of shape (queries, documents); −inf is no hit.

        Args:
            scores: of the documents from place `first` on.
            first: a place.
            rows: which queries they are of.
        """
        bits = (scores + np.float32(0)).view(np.uint32)  # −0 becomes 0
        # The bits of floats sort as they do once those of negative ones are turned round.
        ordered = np.where(bits >> 31, ~bits, bits | np.uint32(1 << 31)).astype(np.uint64)
        places = np.arange(first, first + scores.shape[1], dtype=np.uint64)
        keys = (ordered << np.uint64(32)) | (_PLACES - places)
        keys[np.isneginf(scores)] = 0
        both = np.concatenate([self._best[rows], keys], axis=1)
        k = self._best.shape[1]
        self._best[rows] = np.partition(both, both.shape[1] - k, axis=1)[:, both.shape[1] - k :]

    def ranking(self) -> Ranking:
        """Return what was found."""
        keys = np.sort(self._best, axis=1)[:, ::-1]
        places = (_PLACES - (keys & _PLACES)).astype(np.int64)
        ordered = (keys >> np.uint64(32)).astype(np.uint32)
        bits = np.where(ordered >> 31, ordered & np.uint32((1 << 31) - 1), ~ordered)
        scores = np.ascontiguousarray(bits, np.uint32).view(np.float32)
        nothing = keys == 0
        return Ranking(np.where(nothing, -1, places), np.where(nothing, -np.inf, scores))


def search(queries: Vectors, documents: Vectors, k: int, dimensions: int | None = None) -> Ranking:
    """Return the k documents of largest cosine for each query, exactly.

    Args:
        queries: of shape (n, width).
        documents: of shape (m, width); may lie on disk (numpy.memmap).
        k: how many at most.
        dimensions: both are cut to so many, then normalised; None takes the whole width.
    """
    width = documents.shape[1] if dimensions is None else dimensions
    asked = cut_and_normalize(queries, width, normalize=True)
    best = TopK(len(queries), min(k, len(documents)))
    for first in range(0, len(documents), BLOCK):
        block = cut_and_normalize(block_of(documents, first, BLOCK), width, normalize=True)
        for row in range(0, len(asked), QUERIES):
            rows = slice(row, row + QUERIES)
            best.add(asked[rows] @ block.T, first, rows)
    return best.ranking()


def union(rankings: Sequence[Ranking]) -> Ranking:
    """Return for each query every place that any ranking names, −1 behind them; scores are 0."""
    columns = np.concatenate([ranking.places for ranking in rankings], axis=1)
    rows = [np.unique(row[row >= 0]) for row in columns]
    places = np.full((len(rows), max(map(len, rows))), -1, np.int64)
    for place, row in zip(places, rows, strict=True):
        place[: len(row)] = row
    return Ranking(places, np.zeros(places.shape, np.float32))


def reordered(ranking: Ranking, scores: Sequence[Mapping[int, float]], depth: int) -> Ranking:
    """Return a ranking whose `depth` best are in the order of their scores; the rest stays.

    Equal scores keep the order that they had.
    """
    places = ranking.places.copy()
    for row, known in zip(places, scores, strict=True):
        head = row[:depth]
        by_score = [known[place] if place >= 0 else -np.inf for place in head.tolist()]
        row[:depth] = head[np.argsort(-np.array(by_score), kind="stable")]
    return Ranking(places, ranking.scores)


def with_rest(head: Ranking, ranking: Ranking) -> Ranking:
    """Return the head, and behind it what a ranking names beyond as many places, in its order."""
    depth = head.places.shape[1]
    return Ranking(
        np.concatenate([head.places, ranking.places[:, depth:]], axis=1),
        np.concatenate([head.scores, ranking.scores[:, depth:]], axis=1),
    )


def block_of(documents: Vectors, first: int, size: int) -> Vectors:
    """Return `size` documents; of those on disk by a mapping of their own, which ends with it.

    Pages of one mapping of the whole would stay in memory until the system wants them back.
    """
    rows = documents[first : first + size]
    if not isinstance(documents, np.memmap) or documents.filename is None:
        return rows
    offset = documents.offset + first * documents.strides[0]
    return np.memmap(documents.filename, np.float32, "r", offset, rows.shape)
