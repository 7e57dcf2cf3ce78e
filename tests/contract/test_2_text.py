"""Promise 2: text reaches the model byte for byte, and nothing in it acts as a control token."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from qwen_retrieval.errors import NotTextError, TextError
from qwen_retrieval.testing import FakeEmbedder, FakeReranker

from .faces import array, finest, kept_or_refused
from .reference import ReferenceEmbedder, ReferenceReranker
from .texts import AWKWARD, DEFAULT_TASK, QUESTION

TEXTS = list(AWKWARD.values())
HEAD = f"Instruct: {DEFAULT_TASK}\nQuery:"


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Everything that reaches a model, while every class opens a double."""
    texts: list[str] = []

    class Embedder(FakeEmbedder):
        def __init__(self, *args: Any, **given: Any) -> None:
            super().__init__(*args, **given)
            self.seen = texts

    class Reranker(FakeReranker):
        def __init__(self, *args: Any, **given: Any) -> None:
            super().__init__(*args, **given)
            self.seen = texts

    monkeypatch.setattr("qwen_retrieval.local.embedder.LocalEmbedder", Embedder)
    monkeypatch.setattr("qwen_retrieval.local.reranker.LocalReranker", Reranker)
    return texts


def test_an_adapter_hands_its_texts_over_unchanged(embedder_adapter: Any, seen: list[str]) -> None:
    """Promise 2: every text is seen by the model as it was given, and in the order given."""
    face = embedder_adapter()
    face.documents(TEXTS)
    assert seen == TEXTS
    seen.clear()
    face.queries(TEXTS)
    assert seen == [HEAD + text for text in TEXTS]


def test_a_single_document_is_handed_over_unchanged(embedder_adapter: Any, seen: list[str]) -> None:
    """Promise 2: also by the way that a framework has for one text alone."""
    face = embedder_adapter()
    for text in TEXTS:
        face.documents([text])
    assert seen == TEXTS


def test_a_reranking_adapter_hands_its_texts_over_unchanged(
    reranker_adapter: Any, seen: list[str]
) -> None:
    """Promise 2: query and documents stand in the prompt as they were given."""
    face = reranker_adapter()
    for query in TEXTS:
        face.scores(query, TEXTS)
        head = f"<Instruct>: {DEFAULT_TASK}\n<Query>: {query}\n<Document>: "
        assert seen == [head + text for text in TEXTS]
        seen.clear()


def test_awkward_texts_have_the_vectors_of_the_plain_forward(
    computing_embedder: Any, reference_embedder: ReferenceEmbedder
) -> None:
    """Promise 2: nothing stripped, replaced, or acting as a control token, in either role."""
    face, usable = computing_embedder(), computing_embedder.subject.usable
    documents, queries = usable(TEXTS), usable(TEXTS, HEAD)
    expected = [reference_embedder.vector(text) for text in documents]
    np.testing.assert_allclose(array(face.documents(documents)), expected, atol=1e-5)
    asked = [reference_embedder.query(text) for text in queries]
    np.testing.assert_allclose(array(face.queries(queries)), asked, atol=1e-5)


def test_awkward_texts_that_a_server_would_change_are_refused(embedder: Any) -> None:
    """Promise 2, refused: by name, before anything is sent; and nothing else is refused."""
    face, refusal = embedder(), embedder.subject.refusal
    for text in TEXTS:
        with kept_or_refused(refusal(text)):
            assert len(face.documents([text])) == 1
        with kept_or_refused(refusal(HEAD + text)):
            assert len(face.queries([text])) == 1


def test_awkward_pairs_that_a_server_would_change_are_refused(reranker: Any) -> None:
    """Promise 2, refused: the same for rerankers, in the query and in the document."""
    face, refusal = reranker(), reranker.subject.refusal
    for text in TEXTS:
        with kept_or_refused(refusal(text)):
            assert len(face.scores(QUESTION, ["a", text])) == 2
        with kept_or_refused(refusal(text)):
            assert len(face.scores(text, ["a"])) == 1


def test_awkward_documents_have_the_scores_of_the_plain_forward(
    computing_reranker: Any, reference_reranker: ReferenceReranker
) -> None:
    """Promise 2: a document can neither end the prompt nor answer for itself."""
    settings, expect = finest(computing_reranker, reference_reranker)
    texts = computing_reranker.subject.usable(TEXTS)
    found = computing_reranker(**settings).scores(QUESTION, texts)
    expected = [expect(QUESTION, text) for text in texts]
    assert found == pytest.approx(expected, abs=1e-4)


def test_awkward_queries_have_the_scores_of_the_plain_forward(
    computing_reranker: Any, reference_reranker: ReferenceReranker
) -> None:
    """Promise 2: the same for the query."""
    settings, expect = finest(computing_reranker, reference_reranker)
    face, texts = computing_reranker(**settings), computing_reranker.subject.usable(TEXTS)
    found = [face.scores(text, ["Copy a file."])[0] for text in texts]
    expected = [expect(text, "Copy a file.") for text in texts]
    assert found == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("changed", ["strip", "newline", "blanks", "carriage return"])
def test_a_changed_text_would_show(
    reference_embedder: ReferenceEmbedder, reference_reranker: ReferenceReranker, changed: str
) -> None:
    """Promise 2: the numbers compared above do move when a text is changed."""
    before, after = {
        "strip": ("  copy a file  ", "copy a file"),
        "newline": ("copy\na file", "copy a file"),
        "blanks": ("a  b   c", "a b c"),
        "carriage return": ("first\r\nsecond", "first\nsecond"),
    }[changed]
    moved = reference_embedder.vector(before) - reference_embedder.vector(after)
    assert np.abs(moved).max() > 1e-3
    logits = [reference_reranker.logit(QUESTION, text) for text in (before, after)]
    assert abs(logits[0] - logits[1]) > 1e-3


@pytest.mark.parametrize("wrong", [None, 7, b"bytes"], ids=["none", "number", "bytes"])
def test_only_what_is_no_str_raises(embedder: Any, wrong: object) -> None:
    """Promise 2: what is not `str` raises `NotTextError`, a TypeError that names it."""
    with pytest.raises(NotTextError, match=type(wrong).__name__):
        embedder().queries([wrong])


@pytest.mark.parametrize("wrong", [7, b"bytes"], ids=["number", "bytes"])
def test_a_reranker_refuses_a_query_that_is_no_str(reranker: Any, wrong: object) -> None:
    """Promise 2: the same for rerankers, which never turn it into text."""
    with pytest.raises(NotTextError, match=type(wrong).__name__):
        reranker().scores(wrong, ["a"])


def test_a_lone_surrogate_is_refused_by_name(embedder: Any) -> None:
    """Promise 2: what no UTF-8 text can hold is refused, with its place."""
    with pytest.raises(TextError, match=r"U\+D800 at position 1"):
        embedder().documents(["fine", "a\ud800"])
    with pytest.raises(TextError, match=r"U\+DFFF"):
        embedder().queries(["\udfff"])


def test_a_reranker_refuses_a_lone_surrogate_by_name(reranker: Any) -> None:
    """Promise 2: the same for rerankers."""
    with pytest.raises(TextError, match=r"U\+D800"):
        reranker().scores(QUESTION, ["a\ud800"])
    with pytest.raises(TextError, match=r"U\+D800"):
        reranker().scores("a\ud800", ["a"])


def test_a_string_is_no_list(embedder: Any) -> None:
    """Promise 2: one str where a list belongs is not taken letter by letter."""
    face = embedder()
    with pytest.raises(NotTextError, match="list"):
        face.call(face.subject.list_verb, "abc")
