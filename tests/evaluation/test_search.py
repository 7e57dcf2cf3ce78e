"""Search by blocks is exact, ties and all."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from qwen_retrieval.evaluation import search as module
from qwen_retrieval.evaluation.search import TopK, search

SCORES = st.one_of(
    st.sampled_from([0.0, -0.0, 1.0, -1.0, 0.5, float("-inf")]),
    st.floats(-10, 10, width=32),
)


@given(
    arrays.arrays(np.float32, st.tuples(st.integers(1, 4), st.integers(1, 30)), elements=SCORES),
    st.integers(1, 12),
    st.integers(1, 9),
)
def test_the_best_are_kept_and_ties_keep_their_order(
    scores: np.ndarray, k: int, block: int
) -> None:
    """Block by block, what comes out is what a stable sort of all scores gives."""
    best = TopK(len(scores), k)
    for first in range(0, scores.shape[1], block):
        best.add(scores[:, first : first + block], first)
    found = best.ranking()
    for row, places, values in zip(scores, found.places, found.scores, strict=True):
        order = [p for p in np.argsort(-row, kind="stable") if not np.isneginf(row[p])][:k]
        assert places.tolist() == order + [-1] * (k - len(order))
        assert values[: len(order)].tolist() == row[order].tolist()


@pytest.mark.parametrize("dimensions", [None, 3])
def test_search_is_by_cosine_of_cut_vectors(
    dimensions: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Vectors are cut first, then normalised; lengths do not matter."""
    monkeypatch.setattr(module, "BLOCK", 7)
    monkeypatch.setattr(module, "QUERIES", 2)
    random = np.random.default_rng(0)
    queries, documents = (
        random.normal(size=(n, 8)).astype(np.float32) * random.uniform(0.1, 9, (n, 1))
        for n in (5, 40)
    )
    found = search(queries.astype(np.float32), documents.astype(np.float32), 6, dimensions)
    cut = slice(0, dimensions)
    units = [
        v[:, cut] / np.linalg.norm(v[:, cut], axis=1, keepdims=True) for v in (queries, documents)
    ]
    expected = units[0] @ units[1].T
    order = np.argsort(-expected, axis=1, kind="stable")[:, :6]
    assert (found.places == order).all()
    assert np.abs(found.scores - np.take_along_axis(expected, order, axis=1)).max() < 1e-6
