"""Every shape of an answer is read, and nothing that could be another item's result."""

from __future__ import annotations

import base64
import math
from typing import Any

import numpy as np
import pytest

from qwen_retrieval.servers.reading import UnreadableError, read_scores, read_vectors

A, B = [1.0, 2.0], [3.0, 4.0]


def packed(row: list[float]) -> str:
    """Return a vector in base64, as OpenAI's interface has it."""
    return base64.b64encode(np.asarray(row, "<f4").tobytes()).decode()


VECTORS: dict[str, Any] = {
    "bare": [A, B],
    "openai": {"data": [{"index": 0, "embedding": A}, {"index": 1, "embedding": B}]},
    "reordered": {"data": [{"index": 1, "embedding": B}, {"index": 0, "embedding": A}]},
    "base64": {"data": [{"index": n, "embedding": packed(row)} for n, row in enumerate((A, B))]},
    "ollama": {"model": "m", "embeddings": [A, B]},
    "llama_cpp": [{"index": 0, "embedding": [A]}, {"index": 1, "embedding": [B]}],
    "dashscope": {
        "output": {
            "embeddings": [{"text_index": 1, "embedding": B}, {"text_index": 0, "embedding": A}]
        }
    },
}
SCORES: dict[str, Any] = {
    "bare": [{"index": 1, "score": 0.2}, {"index": 0, "score": 0.9}],
    "numbers": [0.9, 0.2],
    "jina": {
        "results": [{"index": 1, "relevance_score": 0.2}, {"index": 0, "relevance_score": 0.9}]
    },
    "classify": {
        "data": [{"index": 0, "label": "x", "probs": [0.9]}, {"index": 1, "probs": [0.2]}]
    },
    "score": {"data": [{"index": 0, "score": 0.9}, {"index": 1, "score": 0.2}]},
    "dashscope": {
        "output": {
            "results": [{"index": 0, "relevance_score": 0.9}, {"index": 1, "relevance_score": 0.2}]
        }
    },
}


@pytest.mark.parametrize("shape", VECTORS)
def test_vectors_come_in_the_order_of_their_texts(shape: str) -> None:
    """Whatever the order in which they arrive."""
    rows = read_vectors(VECTORS[shape], 2, None)
    assert [row.tolist() for row in rows] == [A, B]
    assert all(row.dtype == np.float32 for row in rows)


@pytest.mark.parametrize("shape", SCORES)
def test_scores_come_in_the_order_of_their_documents(shape: str) -> None:
    """The same."""
    assert read_scores(SCORES[shape], 2, float) == [0.9, 0.2]


def test_rows_of_scores_are_left_to_the_engine() -> None:
    """SGLang gives two numbers for each."""
    answer = {"scores": [[0.9, 0.1], [0.2, 0.8]]}
    assert read_scores(answer, 2, lambda row: row[0]) == [0.9, 0.2]


def item(index: Any, **more: Any) -> dict[str, Any]:
    """Return one result."""
    return {"index": index, "embedding": A, "score": 0.5, **more}


WRONG: dict[str, tuple[Any, str]] = {
    "nothing": ({}, "no list"),
    "an error": ({"error": "x"}, "no list"),
    "null": (None, "no list"),
    "text": ("[1]", "no list"),
    "one is missing": ({"data": [item(0)]}, "1 results for 2 items"),
    "one too many": ({"data": [item(0), item(1), item(1)]}, "3 results for 2"),
    "a double": ({"data": [item(1), item(1)]}, "index 1 stands there twice"),
    "beyond the end": ({"data": [item(0), item(2)]}, "index 2 among 2"),
    "negative": ({"data": [item(0), item(-1)]}, "index -1 among"),
    "true": ({"data": [item(0), item(True)]}, "index True among"),
    "text for a number": ({"data": [item(0), item("1")]}, "index '1' among"),
    "no index": ({"data": [item(0), {"embedding": A, "score": 1}]}, "index None among"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_list_that_is_not_ours_is_refused(name: str) -> None:
    """Nothing is lost, doubled or given to another item."""
    answer, message = WRONG[name]
    for read in (lambda: read_vectors(answer, 2, None), lambda: read_scores(answer, 2, float)):
        with pytest.raises(UnreadableError) as caught:
            read()
        assert message in caught.value.told(repr)


def test_what_was_found_is_told_only_as_the_caller_shows_it() -> None:
    """It may be the key, which stands in no text of the error's own."""
    with pytest.raises(UnreadableError) as caught:
        read_vectors({"error": "sk-secret"}, 2, None)
    assert "sk-" not in str(caught.value)
    assert caught.value.told(lambda _: "…") == "it holds no list of results (…)"


WRONG_VECTORS: dict[str, Any] = {
    "empty": [[], []],
    "of two widths": [A, [1.0]],
    "of another width": [[1.0], [1.0]],
    "no vector": [{"index": 0}, {"index": 1}],
    "a number": [1.0, 2.0],
    "words": [["a", "b"], A],
    "a matrix": [[A, A], [A, A]],
    "an object": [[{}, 1], A],
    "no base64": ["§§", "§§"],
    "cut base64": [packed(A)[:-4], packed(B)],
    "a number beyond all floats": [[10**400, 1], A],
}


@pytest.mark.parametrize("name", WRONG_VECTORS)
def test_what_is_no_vector_is_refused(name: str) -> None:
    """With the width that was expected."""
    with pytest.raises(UnreadableError, match="vector"):
        read_vectors(WRONG_VECTORS[name], 2, 2)


@pytest.mark.parametrize("value", ["high", {}, [0.1, 0.2], 10**400])
def test_what_is_no_score_is_refused(value: Any) -> None:
    """A score is one number."""
    with pytest.raises(UnreadableError, match="score cannot be read"):
        read_scores([item(0), item(1, score=value)], 2, float)


def test_null_is_not_a_number_again() -> None:
    """As which it set out; what checks for finite results names the text."""
    assert np.isnan(read_vectors([[None, 1.0]], 1, 2)[0][0])
    assert math.isnan(read_scores([{"index": 0, "score": None}], 1, float)[0])
