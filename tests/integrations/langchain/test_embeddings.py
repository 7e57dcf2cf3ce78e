"""`QwenEmbeddings` on doubles: what reaches the model, and what comes back."""

from __future__ import annotations

import numpy as np
import pytest

from langchain_qwen_retrieval import QwenEmbeddings
from qwen_retrieval.catalog import DEFAULT_INSTRUCTION
from qwen_retrieval.errors import ClosedError, NotTextError, PrefixedQueryError
from qwen_retrieval.testing import FakeEmbedder
from qwen_retrieval.vectors import calibrate, quantize

pytestmark = pytest.mark.usefixtures("doubled")

TEXT = "  two words\n\n<|im_end|>\tand a tab\r\n"


def seen(embeddings: QwenEmbeddings) -> list[str]:
    """Return every text as the model saw it."""
    model = embeddings._model
    assert isinstance(model, FakeEmbedder)
    return model.seen


async def test_a_query_carries_the_default_instruction_and_a_document_none() -> None:
    """The text itself arrives byte for byte, sync and async."""
    embeddings = QwenEmbeddings()
    embeddings.embed_query(TEXT)
    embeddings.embed_documents([TEXT])
    await embeddings.aembed_query(TEXT)
    await embeddings.aembed_documents([TEXT])
    query = f"Instruct: {DEFAULT_INSTRUCTION}\nQuery:{TEXT}"
    assert seen(embeddings) == [query, TEXT, query, TEXT]


async def test_an_instruction_is_the_objects_or_the_calls() -> None:
    """That of the call wins; an empty one leaves it out."""
    embeddings = QwenEmbeddings(query_instruction="Find a definition")
    embeddings.embed_query("a")
    embeddings.embed_query("a", instruction="Find an example")
    await embeddings.aembed_query("a", instruction="Find an example")
    embeddings.embed_query("a", instruction="")
    assert seen(embeddings) == [
        "Instruct: Find a definition\nQuery:a",
        "Instruct: Find an example\nQuery:a",
        "Instruct: Find an example\nQuery:a",
        "a",
    ]


def test_a_query_that_carries_an_instruction_is_refused() -> None:
    """It would be doubled."""
    with pytest.raises(PrefixedQueryError):
        QwenEmbeddings().embed_query("Instruct: Find\nQuery:a")


async def test_vectors_are_the_cores() -> None:
    """Lists of floats, one for each document in order, of the dimensions asked for."""
    embeddings, core = QwenEmbeddings(dimensions=64), FakeEmbedder(QwenEmbeddings().settings)
    texts = ["one two", "", "three", "one two"]
    vectors = embeddings.embed_documents(texts)
    assert vectors == await embeddings.aembed_documents(texts)
    assert [type(value) for value in vectors[0][:2]] == [float, float]
    full = core.embed_documents(texts)[:, :64]
    expected = full / np.linalg.norm(full, axis=1, keepdims=True)
    np.testing.assert_allclose(np.asarray(vectors), expected, atol=1e-6)
    query = embeddings.embed_query("one two")
    assert query == await embeddings.aembed_query("one two")
    assert np.linalg.norm(query) == pytest.approx(1, abs=1e-6)


async def test_no_documents_give_no_vectors() -> None:
    """An empty list is no error."""
    assert QwenEmbeddings().embed_documents([]) == []
    assert await QwenEmbeddings().aembed_documents([]) == []


def test_what_is_no_text_is_refused() -> None:
    """Only str is text; nothing is converted in silence."""
    with pytest.raises(NotTextError, match="document 1 is int"):
        QwenEmbeddings().embed_documents(["a", 3])  # type: ignore[list-item]
    with pytest.raises(NotTextError, match="query 0 is None"):
        QwenEmbeddings().embed_query(None)  # type: ignore[arg-type]


@pytest.mark.parametrize("vector_type", ["float16", "int8", "uint8", "binary", "ubinary"])
async def test_other_vector_types_are_those_of_the_quantiser(vector_type: str) -> None:
    """Queries and documents come in the type that the settings name."""
    texts = ["one two", "three", "four five six"]
    core = FakeEmbedder(QwenEmbeddings().settings)
    ranges = calibrate(core.embed_documents(texts))
    embeddings = QwenEmbeddings(vector_type=vector_type, vector_ranges=ranges)
    expected = quantize(core.embed_documents(texts), vector_type, ranges).tolist()  # type: ignore[arg-type]
    assert embeddings.embed_documents(texts) == expected
    assert await embeddings.aembed_documents(texts) == expected
    query = quantize(core.embed_queries(["one"]), vector_type, ranges)[0].tolist()  # type: ignore[arg-type]
    assert embeddings.embed_query("one") == query
    assert await embeddings.aembed_query("one") == query


async def test_a_closed_object_refuses_further_calls() -> None:
    """`close` and `aclose` give up the model for good, used before or not."""
    used, unused = QwenEmbeddings(), QwenEmbeddings()
    used.embed_query("a")
    used.close()
    await unused.aclose()
    for closed in (used, unused):
        with pytest.raises(ClosedError):
            closed.embed_query("a")
        with pytest.raises(ClosedError):
            await closed.aembed_documents(["a"])
