"""Starting vectors for the vocabulary: what the teacher says about each token on its own."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from .teacher import Teacher


def token_names(tokenizer: Tokenizer) -> list[str]:
    """Return the text of every token, by id, without the space before a word."""
    size = tokenizer.get_vocab_size()
    return [tokenizer.decode([token], skip_special_tokens=False).strip() for token in range(size)]


def token_counts(tokenizer: Tokenizer, texts: list[str]) -> NDArray[np.int64]:
    """Return how often each token occurs in the texts."""
    counts = np.zeros(tokenizer.get_vocab_size(), dtype=np.int64)
    for encoding in tokenizer.encode_batch(texts, add_special_tokens=False):
        np.add.at(counts, encoding.ids, 1)
    return counts


def starting_vectors(
    tokenizer: Tokenizer, teacher: Teacher, counts: NDArray[np.int64], width: int
) -> NDArray[np.float32]:
    """Return a (vocabulary, width) matrix whose rows average well into text vectors.

    The steps are those of model2vec: the teacher's vector of each token, reduced by a PCA that is
    lightly whitened, and frequent tokens made small (smooth inverse frequency).
    """
    vectors = teacher.encode(token_names(tokenizer)).astype(np.float64)
    weights = np.sqrt(counts + 1.0)
    centre = np.average(vectors, axis=0, weights=weights)
    centred = vectors - centre
    covariance = (centred * weights[:, None]).T @ centred / weights.sum()
    values, axes = np.linalg.eigh(covariance)
    order = np.argsort(values)[::-1][:width]
    reduced = centred @ axes[:, order] / values[order] ** 0.25
    reduced /= np.linalg.norm(reduced, axis=1, keepdims=True) + 1e-9
    share = (counts + 1.0) / counts.sum()
    inverse = 1e-3 / (1e-3 + share)
    return (reduced * inverse[:, None]).astype(np.float32)
