"""BM25, the baseline: Lucene's variant as bm25s computes it, over documents that stay on disk."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from tempfile import TemporaryFile
from typing import IO

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from qwen_retrieval.evaluation.documents import Documents, blocks
from qwen_retrieval.evaluation.search import QUERIES, Ranking, TopK
from qwen_retrieval.evaluation.words import Words

K1, B = 1.5, 0.75
_BLOCK = 4_096


def bm25(
    documents: Documents,
    queries: Sequence[str],
    k: int,
    words: Words,
    progress: Callable[[int], None] = lambda _done: None,
) -> Ranking:
    """Return the k documents that score best for each query; those sharing no word are no hits.

    The scores are those of bm25s with ``method="lucene"``. All queries are known, so only their
    words are counted, and the counts wait in a temporary file until the mean length is known:
    memory does not grow with the documents.

    Args:
        documents: what is searched.
        queries: what is asked.
        k: how many at most.
        words: from a text to what is counted.
        progress: told how many more documents are counted.
    """
    asked = [Counter(words(query)) for query in queries]
    places = {word: n for n, word in enumerate({word: None for each in asked for word in each})}
    with TemporaryFile() as file:
        found_in, mean_length = _count(documents, places, words, file, progress)
        rarity = np.log(1 + (len(documents) - found_in + 0.5) / (found_in + 0.5))
        weights = _rows(asked, places) * rarity
        best = TopK(len(queries), min(k, len(documents)))
        file.seek(0)
        for first in range(0, len(documents), _BLOCK):
            counts, lengths = _load(file, len(places))
            norms = K1 * (1 - B + B * lengths / mean_length)
            counts.data /= counts.data + np.repeat(norms, np.diff(counts.indptr))
            for row in range(0, len(queries), QUERIES):
                rows = slice(row, row + QUERIES)
                scores = (weights[rows] @ counts.T).toarray().astype(np.float32)
                scores[scores == 0] = -np.inf
                best.add(scores, first, rows)
        return best.ranking()


def _count(
    documents: Documents,
    places: dict[str, int],
    words: Words,
    file: IO[bytes],
    progress: Callable[[int], None],
) -> tuple[NDArray[np.float64], float]:
    """Write each block's counts; return in how many documents a word is, and the mean length."""
    found_in, total = np.zeros(len(places)), 0
    for _, texts in blocks(documents, _BLOCK):
        split = [words(text) for text in texts]
        lengths = np.array([len(each) for each in split], np.float64)
        counts = _rows([Counter(word for word in each if word in places) for each in split], places)
        for part in (counts.data, counts.indices, counts.indptr, lengths):
            np.save(file, part)
        found_in += np.bincount(counts.indices, minlength=len(places))
        total += int(lengths.sum())
        progress(len(texts))
    return found_in, max(total / len(documents), 1e-9)  # all documents may be empty


def _load(file: IO[bytes], width: int) -> tuple[csr_array, NDArray[np.float64]]:
    data, indices, indptr, lengths = (np.load(file) for _ in range(4))
    return csr_array((data, indices, indptr), shape=(len(lengths), width)), lengths


def _rows(counters: Sequence[Counter[str]], places: dict[str, int]) -> csr_array:
    data = [float(count) for counter in counters for count in counter.values()]
    indices = [places[word] for counter in counters for word in counter]
    indptr = np.cumsum([0, *(len(counter) for counter in counters)])
    return csr_array(
        (np.array(data), np.array(indices, np.int64), indptr), shape=(len(counters), len(places))
    )
