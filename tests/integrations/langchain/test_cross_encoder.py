"""`QwenCrossEncoder` on doubles, alone and inside LangChain's own reranker."""

from __future__ import annotations

import pytest
from langchain_classic.retrievers.document_compressors import CrossEncoderReranker
from langchain_core.documents import Document

from langchain_qwen_retrieval import QwenCrossEncoder, QwenReranker
from qwen_retrieval.errors import ClosedError
from qwen_retrieval.testing import FakeReranker

pytestmark = pytest.mark.usefixtures("doubled")

PAIRS = [("cat", "a dog"), ("dog", "a dog"), ("a b", "b")]


async def test_scores_come_in_the_order_given() -> None:
    """Floats, one for each pair, as the core gives them."""
    expected = FakeReranker().score(PAIRS).tolist()
    assert len(set(expected)) == 3
    assert QwenCrossEncoder().score(PAIRS) == expected
    assert await QwenCrossEncoder().ascore(PAIRS) == expected
    assert QwenCrossEncoder().score([]) == []


async def test_an_instruction_is_the_objects_or_the_calls() -> None:
    """That of the call wins."""
    encoder = QwenCrossEncoder(instruction="Find a definition")
    model = encoder._model
    assert isinstance(model, FakeReranker)
    encoder.score([("q", "d")])
    encoder.score([("q", "d")], instruction="Find an example")
    await encoder.ascore([("q", "d")], instruction="Find an example")
    assert ["definition" in model.seen[0], *("example" in text for text in model.seen[1:])] == [
        True,
        True,
        True,
    ]


def test_the_logit_is_the_settings_choice() -> None:
    """`score_type` reaches the model."""
    [logit] = QwenCrossEncoder(score_type="logit").score([("a", "b")])
    assert logit == pytest.approx(-2)


def test_langchains_cross_encoder_reranker_orders_as_ours_does() -> None:
    """Both go through the same scores."""
    documents = [Document(text) for text in ("a dog", "a cat", "a black cat", "birds")]
    theirs = CrossEncoderReranker(model=QwenCrossEncoder(), top_n=3)
    ours = QwenReranker(top_n=3).compress_documents(documents, "black cat")
    found = theirs.compress_documents(documents, "black cat")
    assert [d.page_content for d in found] == [d.page_content for d in ours]
    assert found[0].page_content == "a black cat"


def test_a_closed_object_refuses_further_calls() -> None:
    """`close` gives up the model for good."""
    encoder = QwenCrossEncoder()
    encoder.close()
    with pytest.raises(ClosedError):
        encoder.score(PAIRS)
