"""Search over vectors as an index would store them: in fewer bits than the queries have."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from qwen_retrieval.evaluation.search import (
    BLOCK,
    QUERIES,
    Ranking,
    TopK,
    block_of,
    search,
    with_rest,
)
from qwen_retrieval.vectors import calibrate, cut_and_normalize, quantize

if TYPE_CHECKING:
    from collections.abc import Callable

    from qwen_retrieval.contract import Vectors
    from qwen_retrieval.evaluation.setting import Precision
    from qwen_retrieval.settings import Ranges

SAMPLE = 10_000
"""Documents that the ranges of "int8" are taken from, evenly spread."""
RESCORED = 400
"""Documents that binary vectors find, to be scored again: four times what a ranking of 100 keeps.

A number of its own, so that a setting's figures do not depend on what else is compared.
"""

_LEVELS = 255


def search_stored(
    queries: Vectors, documents: Vectors, k: int, dimensions: int, precision: Precision
) -> Ranking:
    """Return the k best documents of each query, as an index of that precision finds them.

    "float16" and "int8" (with ranges calibrated on a sample of the documents) compare the float32
    query with the restored vector. "binary" finds by the bits that differ (Hamming distance), then
    orders the first `RESCORED` by the float32 query over the documents' signs, as
    sentence-transformers' rescoring does; nothing but the bits is stored.

    Args:
        queries: float32 of shape (n, width).
        documents: float32 of shape (m, width); may lie on disk.
        k: how many at most.
        dimensions: both are cut to so many, then normalised.
        precision: of the stored documents.
    """
    if precision == "float32":
        return search(queries, documents, k, dimensions)
    asked = cut_and_normalize(queries, dimensions, normalize=True)
    if precision == "binary":
        found = _scored(_signs(asked), documents, max(RESCORED, k), dimensions, _signs)
        return with_rest(_rescored(asked, documents, found.cut(RESCORED)), found).cut(k)
    if precision == "float16":
        return _scored(asked, documents, k, dimensions, _through_float16)
    step = max(1, len(documents) // SAMPLE)
    ranges = calibrate(cut_and_normalize(documents[::step], dimensions, normalize=True))
    return _scored(asked, documents, k, dimensions, lambda block: _through_int8(block, ranges))


def _scored(
    asked: Vectors,
    documents: Vectors,
    k: int,
    dimensions: int,
    stored: Callable[[Vectors], Vectors],
) -> Ranking:
    best = TopK(len(asked), min(k, len(documents)))
    for first in range(0, len(documents), BLOCK):
        block = block_of(documents, first, BLOCK)
        block = stored(cut_and_normalize(block, dimensions, normalize=True))
        for row in range(0, len(asked), QUERIES):
            rows = slice(row, row + QUERIES)
            best.add(asked[rows] @ block.T, first, rows)
    return best.ranking()


def _rescored(asked: Vectors, documents: Vectors, found: Ranking) -> Ranking:
    """Return what was found in the order of the float32 query over the documents' signs."""
    width = asked.shape[1]
    scores = np.stack(
        [
            _signs(documents[places][:, :width]) @ query
            for query, places in zip(asked, found.places, strict=True)
        ]
    )
    order = np.argsort(-scores, axis=1, kind="stable")
    return Ranking(
        np.take_along_axis(found.places, order, axis=1), np.take_along_axis(scores, order, axis=1)
    )


def _signs(vectors: Vectors) -> Vectors:
    """Return the bits of "binary" as 1 and −1: their product is dimensions − 2 × differing bits."""
    codes = quantize(vectors, "ubinary", None)
    bits = np.unpackbits(codes, axis=1, count=vectors.shape[1])
    return bits.astype(np.float32) * 2 - 1


def _through_float16(vectors: Vectors) -> Vectors:
    return vectors.astype(np.float16).astype(np.float32)


def _through_int8(vectors: Vectors, ranges: Ranges) -> Vectors:
    """Return the vectors as their eight bits tell them."""
    low, high = np.asarray(ranges, np.float32)
    codes = quantize(vectors, "uint8", ranges).astype(np.float32)
    restored: Vectors = codes * ((high - low) / _LEVELS) + low
    return restored
