"""Documents come back in the reranker's order, with its scores."""

from copy import deepcopy
from typing import Any

import pytest
from haystack import Document

from haystack_integrations.components.rankers.qwen_retrieval import QwenRanker
from qwen_retrieval.errors import NotTextError, SettingsError
from qwen_retrieval.prompts import reranker_head
from qwen_retrieval.testing import FakeReranker

from .conftest import Opened

QUERY = "is  the\nsky blue"


def _ids(found: dict[str, list[Document]]) -> list[str]:
    return [document.id for document in found["documents"]]


def test_best_documents_come_first_with_their_scores(
    opened: Opened, documents: list[Document]
) -> None:
    """Score and order are the core's."""
    found = QwenRanker().run(query=QUERY, documents=documents)
    expected = FakeReranker().rerank(QUERY, [str(document.content) for document in documents])
    assert _ids(found) == [documents[each.index].id for each in expected]
    assert [document.score for document in found["documents"]] == [e.score for e in expected]
    assert _ids(found)[0] == "sky"


def test_ties_keep_the_input_order(opened: Opened) -> None:
    """What the reranker cannot tell apart stays as the retriever had it."""
    same = [Document(id=str(number), content="the same words") for number in range(9)]
    assert _ids(QwenRanker().run("other", same)) == [str(number) for number in range(9)]


def test_documents_given_are_left_as_they_are(opened: Opened, documents: list[Document]) -> None:
    """Copies come back, whose metadata may be changed without changing the originals'."""
    before = deepcopy(documents)
    found = QwenRanker().run(QUERY, documents)["documents"]
    for document in found:
        document.meta["later"] = True
        document.meta.get("tags", []).append("later")
    assert documents == before


def test_retrieval_score_is_kept_in_the_metadata(opened: Opened, documents: list[Document]) -> None:
    """Where there was one; content, other metadata, id and embedding stay."""
    found = {each.id: each for each in QwenRanker().run(QUERY, documents)["documents"]}
    assert found["apple"].meta == {"title": "Fruit", "tags": ["a"], "retrieval_score": 0.5}
    assert found["night"].meta == {"title": "Sky"}
    assert found["sky"].content == documents[1].content


def test_texts_reach_the_model_unchanged_with_metadata_first(
    opened: Opened, documents: list[Document]
) -> None:
    """Query, metadata and content go to the core byte for byte."""
    QwenRanker(meta_fields_to_embed=["title"], embedding_separator=" :: ").run(QUERY, documents[:2])
    head = reranker_head(QUERY, None)
    assert opened[0].seen == [
        head + "Fruit :: Apples are red or green.",
        head + "The sky\n\nis blue  by day.\n",
    ]


@pytest.mark.parametrize(
    ("init", "call", "expected"), [(None, None, None), ("A", None, "A"), ("A", "B", "B")]
)
def test_instruction_is_that_of_the_call_or_of_init(
    opened: Opened, documents: list[Document], init: Any, call: Any, expected: Any
) -> None:
    """The one of the call goes first."""
    QwenRanker(instruction=init).run(QUERY, documents[:1], instruction=call)
    assert opened[0].seen == [reranker_head(QUERY, expected) + "Apples are red or green."]


@pytest.mark.parametrize(
    ("init", "call", "expected"),
    [(None, None, 4), (2, None, 2), (2, 3, 3), (2, 0, 0), (0, None, 0), (0, 1, 1), (None, 99, 4)],
)
def test_top_k_limits_the_documents(
    opened: Opened, documents: list[Document], init: Any, call: Any, expected: int
) -> None:
    """None is all or the value of init, 0 is none, and the call's goes first."""
    everything = _ids(QwenRanker().run(QUERY, documents))
    found = QwenRanker(top_k=init).run(QUERY, documents, top_k=call)
    assert _ids(found) == everything[:expected]


def test_negative_top_k_is_refused(opened: Opened, documents: list[Document]) -> None:
    """In Haystack's word, also where there is nothing to rank."""
    for given in (documents, []):
        with pytest.raises(SettingsError, match="top_k is -1"):
            QwenRanker().run(QUERY, given, top_k=-1)


def test_threshold_drops_what_scores_below(opened: Opened, documents: list[Document]) -> None:
    """That of init or that of the call, 0.0 included."""
    scores = {each.id: each.score for each in QwenRanker().run(QUERY, documents)["documents"]}
    above = [name for name, score in scores.items() if score is not None and score >= 0.5]
    assert 0 < len(above) < len(documents)
    strict = QwenRanker(score_threshold=0.5)
    assert _ids(strict.run(QUERY, documents)) == above
    assert _ids(strict.run(QUERY, documents, score_threshold=0.0)) == list(scores)
    assert _ids(strict.run(QUERY, documents, score_threshold=1.0)) == []


@pytest.mark.parametrize(
    ("init", "call", "logits"),
    [
        ({}, None, False),
        ({}, False, True),
        ({}, True, False),
        ({"scale_score": False}, None, True),
        ({"scale_score": False}, True, False),
        ({"scale_score": True}, False, True),
        ({"score_type": "logit"}, None, True),
        ({"score_type": "logit"}, True, False),
        ({"score_type": "logit", "scale_score": True}, None, False),
    ],
)
def test_scale_score_chooses_probability_or_logit(
    opened: Opened, documents: list[Document], init: Any, call: Any, *, logits: bool
) -> None:
    """False at the call means False, whatever init says; the threshold is on the same scale."""
    ranker = QwenRanker(**init)
    found = ranker.run(QUERY, documents, scale_score=call, score_threshold=-1.9)["documents"]
    if logits:
        assert [each.score for each in found] == [2.0, 1.0, -1.0]
    else:
        assert len(found) == 4
        assert all(each.score is not None and 0 < each.score < 1 for each in found)


def test_both_scales_stay_open_together(opened: Opened, documents: list[Document]) -> None:
    """One handle for each scale, not one for each call; both are given up by close."""
    ranker = QwenRanker()
    for scale in (None, False, True, None, False):
        ranker.run(QUERY, documents, scale_score=scale)
    assert [model.settings.score_type for model in opened] == ["probability", "logit"]
    ranker.close()
    assert all(model.called[-1] == "close" for model in opened)


def test_no_documents_give_no_documents(opened: Opened) -> None:
    """An empty list is an answer, not an error."""
    assert QwenRanker().run(QUERY, []) == {"documents": []}


def test_document_without_any_text_is_refused_by_name(opened: Opened) -> None:
    """Nothing is dropped in silence, nothing ranked by chance."""
    with pytest.raises(NotTextError, match=r"document 0 \(id 'photo'\) has no content"):
        QwenRanker().run(QUERY, [Document(id="photo", content=None)])


@pytest.mark.parametrize(
    ("query", "given", "message"),
    [
        (["q"], [Document(content="x")], "query is list"),
        (None, [], "query is NoneType"),
        ("q", "text", "documents is one str"),
        ("q", [{"content": "x"}], "document 0 is dict .*give a haystack Document"),
    ],
)
def test_wrong_types_are_refused(opened: Opened, query: Any, given: Any, message: str) -> None:
    """The error says what came, where, and what to give."""
    with pytest.raises(TypeError, match=message):
        QwenRanker().run(query, given)


async def test_async_gives_the_same_by_the_cores_own_coroutine(
    opened: Opened, documents: list[Document]
) -> None:
    """`run_async` awaits the core's `arerank`, with every argument of the call."""
    ranker = QwenRanker(meta_fields_to_embed=["title"])
    options: dict[str, Any] = {
        "instruction": "green",
        "top_k": 2,
        "score_threshold": -1.0,
        "scale_score": False,
    }
    found = await ranker.run_async(QUERY, documents, **options)
    assert opened[0].called[0] == "arerank"
    assert found == ranker.run(QUERY, documents, **options)
    assert len(found["documents"]) == 2
    assert await ranker.run_async(QUERY, documents) == ranker.run(QUERY, documents)
