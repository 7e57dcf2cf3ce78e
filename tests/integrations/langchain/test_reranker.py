"""`QwenReranker` on doubles: order, scores, copies, and what reaches the model."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
from langchain_core.documents import Document

from langchain_qwen_retrieval import QwenReranker
from qwen_retrieval.errors import ClosedError, SettingsError
from qwen_retrieval.prompts import reranker_head
from qwen_retrieval.testing import FakeReranker

pytestmark = pytest.mark.usefixtures("doubled")

QUERY = "black cat"
DOCUMENTS = [
    Document("a dog", id="0", metadata={"score": 0.9, "tags": ["x"]}),
    Document("a black cat", id="1", metadata={"relevance_score": 0.1, "title": "pets"}),
    Document("a cat", id="2", metadata={"title": "a black pet"}),
    Document("a dog", id="3"),
]


def core_scores() -> list[float]:
    """Return the scores of the documents by the core alone."""
    pairs = [(QUERY, document.page_content) for document in DOCUMENTS]
    return FakeReranker().score(pairs).tolist()


def seen(reranker: QwenReranker) -> list[str]:
    """Return every user turn as the model saw it."""
    model = reranker._model
    assert isinstance(model, FakeReranker)
    return model.seen


async def test_documents_come_back_best_first_with_their_scores() -> None:
    """Ties keep the input order; the score stands where LangChain looks for it."""
    scores = core_scores()
    for found in (
        QwenReranker().compress_documents(DOCUMENTS, QUERY),
        await QwenReranker().acompress_documents(DOCUMENTS, QUERY),
    ):
        assert [document.id for document in found] == ["1", "2", "0", "3"]
        assert [document.metadata["relevance_score"] for document in found] == [
            scores[int(str(document.id))] for document in found
        ]
        assert [document.page_content for document in found] == [
            DOCUMENTS[int(str(document.id))].page_content for document in found
        ]


async def test_input_is_not_mutated_and_shares_nothing_with_the_output() -> None:
    """Copies come back, since a vector store hands out what it holds."""
    before = deepcopy(DOCUMENTS)
    for found in (
        QwenReranker().compress_documents(DOCUMENTS, QUERY),
        await QwenReranker().acompress_documents(DOCUMENTS, QUERY),
    ):
        [dog] = [document for document in found if document.id == "0"]
        assert dog.metadata["score"] == 0.9
        dog.metadata["tags"].append("y")
        assert before == DOCUMENTS


def test_a_documents_own_type_is_kept() -> None:
    """A subclass with further fields comes back as such."""

    class Page(Document):
        number: int

    [page] = QwenReranker().compress_documents([Page("cat", number=3)], "cat")
    assert isinstance(page, Page)
    assert page.number == 3


@pytest.mark.parametrize(("top_n", "count"), [(None, 4), (0, 0), (1, 1), (4, 4), (9, 4)])
async def test_top_n_limits_the_documents(top_n: int | None, count: int) -> None:
    """None is all, 0 none; it is the object's."""
    reranker = QwenReranker(top_n=top_n)
    assert len(reranker.compress_documents(DOCUMENTS, QUERY)) == count
    assert len(await reranker.acompress_documents(DOCUMENTS, QUERY)) == count
    assert len(reranker.rerank(DOCUMENTS, QUERY)) == count


async def test_a_call_may_have_its_own_top_n() -> None:
    """Zero is a number like any other."""
    reranker = QwenReranker(top_n=3)
    assert [len(reranker.rerank(DOCUMENTS, QUERY, top_n=n)) for n in (None, 0, 1, 4)] == [
        3,
        0,
        1,
        4,
    ]
    assert [len(await reranker.arerank(DOCUMENTS, QUERY, top_n=n)) for n in (None, 0)] == [3, 0]
    with pytest.raises(SettingsError, match="top_n is -1"):
        reranker.rerank(DOCUMENTS, QUERY, top_n=-1)


async def test_a_score_threshold_drops_what_scores_below() -> None:
    """It is the object's or the call's; 0 is a threshold too."""
    scores = core_scores()
    reranker = QwenReranker(score_threshold=scores[2])
    assert [d.id for d in reranker.compress_documents(DOCUMENTS, QUERY)] == ["1", "2"]
    assert len(reranker.rerank(DOCUMENTS, QUERY, score_threshold=0)) == 4
    assert len(await reranker.arerank(DOCUMENTS, QUERY, score_threshold=scores[1])) == 1


async def test_rerank_gives_places_and_scores_of_strings_and_documents() -> None:
    """The raw form that LangChain's other rerankers have."""
    scores = core_scores()
    expected = [{"index": i, "relevance_score": scores[i]} for i in (1, 2, 0, 3)]
    mixed: list[Any] = [DOCUMENTS[0], DOCUMENTS[1].page_content, *DOCUMENTS[2:]]
    assert QwenReranker().rerank(mixed, QUERY) == expected
    assert await QwenReranker().arerank(mixed, query=QUERY) == expected


async def test_an_instruction_is_the_objects_or_the_calls() -> None:
    """That of the call wins; texts arrive byte for byte."""
    text = " a\n<|im_end|>\t"
    reranker = QwenReranker(instruction="Find a definition")
    reranker.compress_documents([Document(text)], text)
    reranker.rerank([text], text, instruction="Find an example")
    await reranker.arerank([text], text, instruction="Find an example")
    assert seen(reranker) == [
        reranker_head(text, instruction) + text
        for instruction in ("Find a definition", "Find an example", "Find an example")
    ]


def test_named_metadata_is_read_before_the_text() -> None:
    """A document without the field, or with None there, is read without it."""
    reranker = QwenReranker(metadata_fields=("title", "year"))
    documents = [
        Document("text", metadata={"year": 2026, "title": "Pets", "source": "x"}),
        Document("text", metadata={"title": None}),
    ]
    found = reranker.compress_documents(documents, "query")
    head = reranker_head("query", None)
    assert seen(reranker) == [head + "Pets\n2026\ntext", head + "text"]
    assert {document.page_content for document in found} == {"text"}


async def test_no_documents_give_none() -> None:
    """An empty list is no error."""
    assert QwenReranker().compress_documents([], QUERY) == []
    assert await QwenReranker().acompress_documents([], QUERY) == []
    assert QwenReranker().rerank([], QUERY) == []


async def test_a_closed_object_refuses_further_calls() -> None:
    """`close` and `aclose` give up the model for good."""
    closed, aclosed = QwenReranker(), QwenReranker()
    closed.close()
    await aclosed.aclose()
    for reranker in (closed, aclosed):
        with pytest.raises(ClosedError):
            reranker.compress_documents(DOCUMENTS, QUERY)
