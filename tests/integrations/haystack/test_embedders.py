"""Queries and documents become vectors, the core's own, byte for byte."""

from copy import deepcopy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from haystack import Document

from haystack_integrations.components.embedders.qwen_retrieval import (
    QwenDocumentEmbedder,
    QwenTextEmbedder,
)
from haystack_integrations.components.rankers.qwen_retrieval import QwenRanker
from qwen_retrieval.catalog import DEFAULT_INSTRUCTION
from qwen_retrieval.errors import NotTextError, PrefixedQueryError, TextError
from qwen_retrieval.prompts import query_text
from qwen_retrieval.testing import FakeEmbedder
from qwen_retrieval.vectors import calibrate, quantize

from .conftest import Opened

TEXT = "  Two\nlines,\ttabs \r\n\n and   spaces \u00a0 "


@pytest.mark.parametrize(
    ("init", "call", "expected"),
    [
        (None, None, DEFAULT_INSTRUCTION),
        ("Find the recipe", None, "Find the recipe"),
        ("Find the recipe", "Find the cook", "Find the cook"),
        ("Find the recipe", "", ""),
    ],
)
def test_query_carries_the_instruction(
    opened: Opened, init: str | None, call: str | None, expected: str
) -> None:
    """The default one, that of init, or that of the call; the empty one leaves it out."""
    embedder = QwenTextEmbedder(query_instruction=init)
    embedder.run(TEXT, instruction=call)
    assert opened[0].seen == [query_text(TEXT, expected)]


def test_query_vector_is_the_cores(opened: Opened) -> None:
    """A list of floats, equal to the core's vector."""
    found = QwenTextEmbedder(dimensions=64).run("which apples are green?")
    expected = FakeEmbedder(opened[0].settings).embed_queries(["which apples are green?"])
    assert list(found) == ["embedding"]
    assert all(type(value) is float for value in found["embedding"])
    np.testing.assert_array_equal(np.array(found["embedding"], np.float32), expected[0])


def test_documents_come_back_in_order_with_their_own_vectors(
    opened: Opened, documents: list[Document]
) -> None:
    """The third document's vector is that of the third document's text."""
    found = QwenDocumentEmbedder().run(documents)["documents"]
    expected = FakeEmbedder().embed_documents([str(document.content) for document in documents])
    assert [document.id for document in found] == ["apple", "sky", "grass", "night"]
    np.testing.assert_array_equal(
        np.array([each.embedding for each in found], np.float32), expected
    )


def test_document_text_reaches_the_model_unchanged(opened: Opened) -> None:
    """Nothing is stripped or replaced, empty text is text, and no instruction is added."""
    QwenDocumentEmbedder(query_instruction="x").run([Document(content=TEXT), Document(content="")])
    assert opened[0].seen == [TEXT, ""]


def test_all_documents_go_to_the_core_at_once(opened: Opened) -> None:
    """The core sorts by length over the whole call, so the adapter makes no batches."""
    many = [Document(content=f"text {number}") for number in range(200)]
    QwenDocumentEmbedder(batch_size=4).run(many)
    assert opened[0].called == ["embed_documents"]


def test_documents_given_are_left_as_they_are(opened: Opened, documents: list[Document]) -> None:
    """Copies come back; id, content, metadata and score are those of the originals."""
    before = deepcopy(documents)
    found = QwenDocumentEmbedder().run(documents)["documents"]
    assert documents == before
    assert [replace(document, embedding=None) for document in found] == before
    for document in found:
        document.meta.get("tags", []).append("later")
    assert documents == before
    assert not {id(document) for document in found} & {id(document) for document in documents}


def test_metadata_comes_before_the_content(opened: Opened) -> None:
    """Fields in the order asked for, joined by the separator; absent and None ones left out."""
    given = [
        Document(content="body\n", meta={"title": "T\nT", "year": 1999}),
        Document(content="body", meta={"title": None, "year": 0}),
        Document(content="body"),
    ]
    QwenDocumentEmbedder(meta_fields_to_embed=["year", "title"], embedding_separator=" | ").run(
        given
    )
    assert opened[0].seen == ["1999 | T\nT | body\n", "0 | body", "body"]


def test_separator_is_a_line_break_by_default(opened: Opened) -> None:
    """As in Haystack's own embedders."""
    QwenDocumentEmbedder(meta_fields_to_embed=["title"]).run(
        [Document(content="body", meta={"title": "Title"})]
    )
    assert opened[0].seen == ["Title\nbody"]


def test_document_without_content_counts_as_its_metadata(opened: Opened) -> None:
    """An image with a caption can be found by the caption alone."""
    image = Document(content=None, meta={"caption": "A red apple"})
    QwenDocumentEmbedder(meta_fields_to_embed=["caption"]).run([image])
    assert opened[0].seen == ["A red apple"]


def test_document_without_any_text_is_refused_by_name(opened: Opened) -> None:
    """A vector of nothing would be found by chance."""
    given = [Document(content="a"), Document(id="photo-7", content=None)]
    with pytest.raises(NotTextError, match=r"document 1 \(id 'photo-7'\) has no content"):
        QwenDocumentEmbedder(meta_fields_to_embed=["caption"]).run(given)
    assert not opened


def test_no_documents_give_no_documents(opened: Opened) -> None:
    """An empty list is an answer, not an error."""
    assert QwenDocumentEmbedder().run([]) == {"documents": []}


@pytest.mark.parametrize("wrong", [["a", "b"], Document(content="x"), 3, None])
def test_text_embedder_refuses_what_is_no_string(opened: Opened, wrong: Any) -> None:
    """The error says what came instead."""
    with pytest.raises(TypeError, match=rf"is {type(wrong).__name__} .*give a str"):
        QwenTextEmbedder().run(wrong)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("a query", "documents is one str; give a list"),
        (Document(content="x"), "documents is one Document; give a list"),
        (3, "documents is one int; give a list"),
        (["a", "b"], "document 0 is str .*give a haystack Document"),
        ([Document(content="x"), None], "document 1 is NoneType"),
    ],
)
def test_document_embedder_refuses_what_are_no_documents(
    opened: Opened, wrong: Any, message: str
) -> None:
    """The error says what came, where, and what to give."""
    with pytest.raises(TypeError, match=message):
        QwenDocumentEmbedder().run(wrong)


def test_field_names_given_as_one_string_are_refused() -> None:
    """The letters of a name would be looked up one by one, and nothing found."""
    with pytest.raises(TypeError, match=r"meta_fields_to_embed is 'title'; give a list"):
        QwenDocumentEmbedder(meta_fields_to_embed="title")  # type: ignore[arg-type] # the point
    with pytest.raises(TypeError, match=r"meta_fields_to_embed is 'title'; give a list"):
        QwenRanker(meta_fields_to_embed="title")  # type: ignore[arg-type] # the point


def test_the_cores_refusals_arrive_unchanged(opened: Opened) -> None:
    """A doubled instruction and a lone surrogate raise as they do in the core."""
    with pytest.raises(PrefixedQueryError):
        QwenTextEmbedder().run("Instruct: x\nQuery:y")
    with pytest.raises(TextError, match="U\\+D800"):
        QwenDocumentEmbedder().run([Document(id="cut", content="\ud800")])


@pytest.mark.parametrize("vector_type", ["float16", "int8", "uint8", "binary", "ubinary"])
def test_vectors_come_in_the_type_asked_for(
    opened: Opened, documents: list[Document], vector_type: Any
) -> None:
    """Query and documents alike, by the core's quantiser with the calibrated ranges."""
    plain = FakeEmbedder().embed_documents([str(document.content) for document in documents])
    ranges = calibrate(plain) if "int8" in vector_type else None
    values: dict[str, Any] = {"vector_type": vector_type, "vector_ranges": ranges}
    found = QwenDocumentEmbedder(**values).run(documents)["documents"]
    expected = quantize(plain, vector_type, ranges).tolist()
    assert [document.embedding for document in found] == expected
    query = FakeEmbedder().embed_queries(["green"])
    expected_query = quantize(query, vector_type, ranges).tolist()[0]
    assert QwenTextEmbedder(**values).run("green")["embedding"] == expected_query


async def test_async_gives_the_same_by_the_cores_own_coroutines(
    opened: Opened, documents: list[Document]
) -> None:
    """`run_async` awaits the core's a-methods, with the same arguments."""
    text, embedder = QwenTextEmbedder(), QwenDocumentEmbedder(meta_fields_to_embed=["title"])
    assert await text.run_async("green", instruction="I") == text.run("green", instruction="I")
    assert await embedder.run_async(documents) == embedder.run(documents)
    assert opened[0].seen[0] == opened[0].seen[1]
    assert [model.called[0] for model in opened] == ["aembed_queries", "aembed_documents"]
