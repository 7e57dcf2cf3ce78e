"""Promise 3: only queries carry an instruction, exactly once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from qwen_retrieval.errors import PrefixedQueryError, ServerUnsupportedError, SettingsError

from .faces import array, finest
from .reference import ReferenceEmbedder, ReferenceReranker
from .texts import DEFAULT_TASK, DOCUMENTS, OTHER_TASK, OWN_TASK, QUESTION

TASKS = {"default": None, "own": OWN_TASK, "awkward": "Find {query}:\n  \tall of it\u00a0"}
PREFIXED = f"Instruct: {OWN_TASK}\nQuery:{QUESTION}"


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_queries_carry_the_instruction_of_the_settings(
    computing_embedder: Any, reference_embedder: ReferenceEmbedder, task: str | None
) -> None:
    r"""Promise 3: exactly `Instruct: {task}\nQuery:{query}`, the model's own task by default."""
    found = array(computing_embedder(query_instruction=task).queries([QUESTION]))[0]
    expected = reference_embedder.query(QUESTION, DEFAULT_TASK if task is None else task)
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("settings", [None, OTHER_TASK, ""], ids=["default", "own", "none"])
def test_a_call_can_carry_an_instruction_of_its_own(
    computing_embedder: Any, reference_embedder: ReferenceEmbedder, settings: str | None
) -> None:
    """Promise 3: the call's instruction replaces that of the settings, and for that call only."""
    face = computing_embedder(query_instruction=settings)
    before = array(face.queries([QUESTION]))[0]
    found = array(face.queries([QUESTION], instruction=OWN_TASK))[0]
    np.testing.assert_allclose(found, reference_embedder.query(QUESTION, OWN_TASK), atol=1e-5)
    assert np.abs(found - before).max() > 1e-3
    np.testing.assert_allclose(array(face.queries([QUESTION]))[0], before, atol=1e-6)


def test_an_empty_instruction_leaves_it_out(
    computing_embedder: Any, reference_embedder: ReferenceEmbedder
) -> None:
    """Promise 3: "" is none, in the settings and in a call."""
    bare = reference_embedder.vector(QUESTION)
    configured = computing_embedder(query_instruction="").queries([QUESTION])
    called = computing_embedder().queries([QUESTION], instruction="")
    np.testing.assert_allclose(array(configured)[0], bare, atol=1e-5)
    np.testing.assert_allclose(array(called)[0], bare, atol=1e-5)


def test_documents_carry_no_instruction(
    computing_embedder: Any, reference_embedder: ReferenceEmbedder
) -> None:
    """Promise 3: whatever the instruction, documents are the bare text."""
    bare = reference_embedder.vector(QUESTION)
    for task in (None, OWN_TASK):
        face = computing_embedder(query_instruction=task)
        face.queries(["a query before"])
        for texts in ([QUESTION], [QUESTION, "another", QUESTION]):
            for row in (array(face.documents(texts))[0], array(face.documents(texts))[-1]):
                np.testing.assert_allclose(row, bare, atol=1e-5)


def test_the_instruction_tells_queries_from_documents(embedder: Any) -> None:
    """Promise 3: the same text has another vector as a query, also among the doubles."""
    face = embedder()
    query, document = array(face.queries([QUESTION])), array(face.documents([QUESTION]))
    assert np.abs(query - document).max() > 1e-3


def test_a_prefixed_query_is_refused(embedder: Any) -> None:
    """Promise 3: a query that already carries an instruction raises and says what to do."""
    face = embedder()
    for given in ({}, {"instruction": OTHER_TASK}, {"instruction": ""}):
        with pytest.raises(PrefixedQueryError, match="prefixed_query='as_is'"):
            face.queries([PREFIXED], **given)
    assert len(face.documents([PREFIXED])) == 1  # a document may say what it likes


def test_a_prefixed_query_can_be_taken_as_it_is(
    computing_embedder: Any, reference_embedder: ReferenceEmbedder
) -> None:
    """Promise 3: with "as_is" it is never doubled, and bare queries still get theirs."""
    face = computing_embedder(prefixed_query="as_is", query_instruction=OTHER_TASK)
    if not computing_embedder.subject.takes_prompt:
        with pytest.raises(ServerUnsupportedError, match="puts one before it too"):
            face.queries([PREFIXED])
        return
    expected = reference_embedder.query(QUESTION, OWN_TASK)
    np.testing.assert_allclose(array(face.queries([PREFIXED]))[0], expected, atol=1e-5)
    other = reference_embedder.query(QUESTION, OTHER_TASK)
    np.testing.assert_allclose(array(face.queries([QUESTION]))[0], other, atol=1e-5)


def test_prompts_are_put_before_the_text_verbatim(
    computing_embedder: Any, reference_embedder: ReferenceEmbedder
) -> None:
    """Promise 3: `query_prompt` and `document_prompt` stand for models with other templates."""
    if not computing_embedder.subject.takes_prompt:
        with pytest.raises(ServerUnsupportedError, match="query_prompt is 'ask: '"):
            computing_embedder(query_prompt="ask: ").queries([QUESTION])
        return
    refusal = computing_embedder.subject.refusal
    tell = next(each for each in (" tell: ", "tell: ") if refusal(each + QUESTION) is None)
    face = computing_embedder(query_prompt="ask:\n ", document_prompt=tell)
    asked, told = (
        reference_embedder.vector(f) for f in (f"ask:\n {QUESTION}", f"{tell}{QUESTION}")
    )
    np.testing.assert_allclose(array(face.queries([QUESTION]))[0], asked, atol=1e-5)
    np.testing.assert_allclose(array(face.documents([QUESTION]))[0], told, atol=1e-5)


def test_instruction_and_prompt_together_are_refused(embedder: Any) -> None:
    """Promise 3: two of them would be one too many."""
    with pytest.raises(SettingsError, match="query_instruction and query_prompt are both set"):
        embedder(query_instruction="a", query_prompt="b")


@pytest.mark.parametrize("task", [*TASKS.values(), ""], ids=[*TASKS, "none"])
def test_the_reranking_prompt_carries_the_instruction_of_the_settings(
    computing_reranker: Any, reference_reranker: ReferenceReranker, task: str | None
) -> None:
    """Promise 3: the reranker's instruction, the default sentence unless another is set."""
    settings, expect = finest(computing_reranker, reference_reranker)
    face = computing_reranker(instruction=task, **settings)
    chosen = DEFAULT_TASK if task is None else task
    if not computing_reranker.subject.takes_instruction and task is not None:
        with pytest.raises(ServerUnsupportedError, match="would ignore another"):
            face.scores(QUESTION, DOCUMENTS)
        return
    expected = [expect(QUESTION, text, chosen) for text in DOCUMENTS]
    assert face.scores(QUESTION, DOCUMENTS) == pytest.approx(expected, abs=1e-5, rel=1e-5)


@pytest.mark.parametrize("task", [OWN_TASK, ""], ids=["own", "none"])
def test_a_reranking_call_can_carry_an_instruction_of_its_own(
    computing_reranker: Any, reference_reranker: ReferenceReranker, task: str
) -> None:
    """Promise 3: the call's instruction replaces that of the settings, and for that call only."""
    if not computing_reranker.subject.takes_instruction:
        with pytest.raises(ServerUnsupportedError, match="would ignore another"):
            computing_reranker().scores(QUESTION, DOCUMENTS, instruction=task)
        return
    settings, expect = finest(computing_reranker, reference_reranker)
    face = computing_reranker(instruction=OTHER_TASK, **settings)
    before = face.scores(QUESTION, DOCUMENTS)
    found = face.scores(QUESTION, DOCUMENTS, instruction=task)
    expected = [expect(QUESTION, text, task) for text in DOCUMENTS]
    assert found == pytest.approx(expected, abs=1e-5, rel=1e-5)
    assert max(abs(a - b) for a, b in zip(found, before, strict=True)) > 1e-4
    assert face.scores(QUESTION, DOCUMENTS) == pytest.approx(before, abs=1e-6, rel=1e-6)
