"""Promise 4: the score of the official prompt, and an order made of it."""

from __future__ import annotations

from typing import Any

import pytest

from qwen_retrieval import Ranked, RerankerSettings
from qwen_retrieval.errors import SettingsError, TooLongError, TruncationWarning

from .faces import array, finest, kept_or_refused
from .reference import PREFIX, SUFFIX, ReferenceEmbedder, ReferenceReranker
from .texts import DEFAULT_TASK, DOCUMENTS, QUESTION, RAGGED

TWICE = (*DOCUMENTS, *DOCUMENTS[::-1], *DOCUMENTS)


def test_the_score_is_the_share_of_yes_at_the_end_of_the_official_prompt(
    computing_reranker: Any, reference_reranker: ReferenceReranker
) -> None:
    """Promise 4: sigmoid(yes − no), as transformers' plain forward has it."""
    found = computing_reranker().scores(QUESTION, [*DOCUMENTS, *RAGGED])
    expected = [reference_reranker.probability(QUESTION, t) for t in [*DOCUMENTS, *RAGGED]]
    assert found == pytest.approx(expected, abs=1e-5)
    assert max(expected) - min(expected) > 0.01


def test_probabilities_lie_between_zero_and_one(reranker: Any) -> None:
    """Promise 4: a score is a float strictly between 0 and 1."""
    found = reranker().scores(QUESTION, DOCUMENTS)
    assert all(type(score) is float and 0 < score < 1 for score in found)


def test_the_logit_is_yes_minus_no(
    computing_reranker: Any, reference_reranker: ReferenceReranker
) -> None:
    """Promise 4: `score_type="logit"` gives yes − no itself."""
    refused = None if computing_reranker.subject.gives_logits else "score_type is 'logit'"
    with kept_or_refused(refused):
        found = computing_reranker(score_type="logit").scores(QUESTION, DOCUMENTS)
    if refused is not None:
        return
    expected = [reference_reranker.logit(QUESTION, text) for text in DOCUMENTS]
    assert found == pytest.approx(expected, abs=1e-4)


def test_pairs_of_many_queries_are_scored_in_the_order_given(reranker: Any) -> None:
    """Promise 4: where a framework takes pairs, each has its own query."""
    face = reranker()
    if not face.subject.scores_pairs:
        assert not any(hasattr(kind, "score") for kind in face.subject.types())
        return
    pairs = [(query, text) for text in DOCUMENTS for query in (QUESTION, "sine", "")]
    found = [float(score) for score in face.call("score", pairs)]
    alone = [float(face.call("score", [pair])[0]) for pair in pairs]
    assert found == pytest.approx(alone, abs=1e-5)
    assert list(face.call("score", [])) == []


def test_a_class_that_only_scores_offers_no_order(reranker: Any) -> None:
    """Promise 4, refused: LangChain's cross-encoder leaves ordering to its caller."""
    if reranker.subject.orders:
        assert reranker().rerank(QUESTION, DOCUMENTS)
        return
    assert not any(hasattr(kind, "rerank") for kind in reranker.subject.types())
    for word in ("top_n", "score_threshold"):
        with pytest.raises((TypeError, ValueError), match=word):
            reranker(**{word: 1})
        with pytest.raises(TypeError, match=word):
            reranker().call("score", [("a", "b")], **{word: 1})


def test_the_best_comes_first(ranker: Any) -> None:
    """Promise 4: descending by score, each place once."""
    ranked = ranker().rerank(QUESTION, DOCUMENTS)
    assert sorted(each.index for each in ranked) == list(range(len(DOCUMENTS)))
    assert [each.score for each in ranked] == sorted((e.score for e in ranked), reverse=True)
    assert ranked[0].score > ranked[-1].score
    assert [each.index for each in ranked] != list(range(len(DOCUMENTS)))


def test_ties_keep_the_input_order(ranker: Any) -> None:
    """Promise 4: equal documents have equal scores and come back in the order given."""
    ranked = ranker().rerank(QUESTION, TWICE)
    for text in DOCUMENTS:
        same = [each for each in ranked if TWICE[each.index] == text]
        assert [each.index for each in same] == sorted(each.index for each in same)
        assert len({each.score for each in same}) == 1
    expected = sorted(ranked, key=lambda each: (-each.score, each.index))
    assert ranked == expected
    assert [each.index for each in ranker().rerank("", [""] * 7)] == list(range(7))


@pytest.mark.parametrize("top_n", [None, 0, 1, 4, 99])
def test_a_call_chooses_how_many_come_back(ranker: Any, top_n: int | None) -> None:
    """Promise 4: None all, 0 none, too many all; always the best ones."""
    face = ranker()
    whole = face.rerank(QUESTION, DOCUMENTS)
    found = face.rerank(QUESTION, DOCUMENTS, top_n=top_n)
    assert_same(found, whole if top_n is None else whole[:top_n])


@pytest.mark.parametrize("top_n", [None, 0, 1, 4, 99])
def test_the_settings_choose_how_many_come_back(ranker: Any, top_n: int | None) -> None:
    """Promise 4: the same as a default, which a call overrides, with 0 too."""
    subject = ranker.subject
    if not subject.has_defaults:
        assert "top_n" not in RerankerSettings.__dataclass_fields__
        with pytest.raises(TypeError, match="top_n"):
            ranker(top_n=top_n)
        return
    whole = ranker().rerank(QUESTION, DOCUMENTS)
    face = ranker(**{subject.top_n: top_n})
    assert_same(face.rerank(QUESTION, DOCUMENTS), whole if top_n is None else whole[:top_n])
    assert_same(face.rerank(QUESTION, DOCUMENTS, top_n=2), whole[:2])
    assert face.rerank(QUESTION, DOCUMENTS, top_n=0) == []


@pytest.mark.parametrize("wrong", [-1, -5])
def test_a_negative_number_of_results_is_refused(ranker: Any, wrong: int) -> None:
    """Promise 4: by name and value, when it is made and in a call."""
    message = f"{ranker.subject.top_n} is {wrong}; give None for all, or a whole number from 0 up"
    with pytest.raises(SettingsError, match=message):
        ranker().rerank(QUESTION, DOCUMENTS, top_n=wrong)
    if ranker.subject.has_defaults:
        with pytest.raises(SettingsError, match=message):
            ranker(**{ranker.subject.top_n: wrong})


def test_a_threshold_drops_what_scores_below_it(ranker: Any) -> None:
    """Promise 4: per call; a score equal to it stays; with top_n, the fewer of both."""
    face = ranker()
    whole = face.rerank(QUESTION, DOCUMENTS)
    at = whole[2].score
    kept = [each for each in whole if each.score >= at]
    assert 3 <= len(kept) < len(whole)
    assert_same(face.rerank(QUESTION, DOCUMENTS, score_threshold=at), kept)
    assert_same(face.rerank(QUESTION, DOCUMENTS, score_threshold=at, top_n=2), whole[:2])
    assert_same(face.rerank(QUESTION, DOCUMENTS, score_threshold=0.0), whole)
    assert face.rerank(QUESTION, DOCUMENTS, score_threshold=1.0) == []


def test_the_settings_threshold_drops_what_scores_below_it(ranker: Any) -> None:
    """Promise 4: the same as a default, which a call overrides, with 0.0 too."""
    if not ranker.subject.has_defaults:
        with pytest.raises(TypeError, match="score_threshold"):
            ranker(score_threshold=0.5)
        return
    whole = ranker().rerank(QUESTION, DOCUMENTS)
    face = ranker(score_threshold=whole[2].score)
    assert_same(face.rerank(QUESTION, DOCUMENTS), whole[:3])
    assert_same(face.rerank(QUESTION, DOCUMENTS, score_threshold=0.0), whole)


def test_a_threshold_that_is_no_number_is_refused(ranker: Any) -> None:
    """Promise 4: NaN would drop everything in silence."""
    with pytest.raises(SettingsError, match="score_threshold is nan"):
        ranker().rerank(QUESTION, DOCUMENTS, score_threshold=float("nan"))
    if ranker.subject.has_defaults:
        with pytest.raises(SettingsError, match="score_threshold is nan"):
            ranker(score_threshold=float("nan"))


def test_nothing_to_rank_gives_nothing(reranker: Any) -> None:
    """Promise 4: no documents, no results."""
    assert reranker().scores(QUESTION, []) == []


def test_only_the_document_is_cut(
    computing_reranker: Any, reference_reranker: ReferenceReranker
) -> None:
    """Promise 4: one warning names how many; the closing of the prompt survives."""
    long, short = "copy " * 90 + "end", "Copy a file."
    length = _template(reference_reranker, QUESTION) + 30
    settings, expect = finest(computing_reranker, reference_reranker)
    face = computing_reranker(max_length=length, **settings)
    with pytest.warns(TruncationWarning, match=f"1 of 2 .* longer than {length} tokens") as caught:
        found = face.scores(QUESTION, [short, long])
    assert len(caught) == 1
    expected = [expect(QUESTION, text, max_length=length) for text in (short, long)]
    assert found == pytest.approx(expected, abs=1e-4)


def test_a_document_that_is_too_long_can_be_refused(
    computing_reranker: Any, reference_reranker: ReferenceReranker
) -> None:
    """Promise 4: `too_long="refuse"` raises instead of cutting."""
    length = _template(reference_reranker, QUESTION) + 30
    face = computing_reranker(max_length=length, too_long="refuse")
    with pytest.raises(TooLongError, match=r"1 of 2.*raise max_length"):
        face.scores(QUESTION, ["short", "copy " * 400])


def test_a_query_that_leaves_no_room_raises(
    computing_reranker: Any, reference_reranker: ReferenceReranker
) -> None:
    """Promise 4: never a prompt without a document."""
    length = _template(reference_reranker, QUESTION)
    with pytest.raises(TooLongError, match=f"max_length={length}.*shorten the query"):
        computing_reranker(max_length=length).scores("copy " * 400, ["Copy a file."])


def test_a_cut_text_keeps_its_end_token(
    computing_embedder: Any, reference_embedder: ReferenceEmbedder
) -> None:
    """Promise 4: embedded texts are cut before EOS, with one warning, or refused."""
    long = ("copy a file to another place " * 12).strip()
    with pytest.warns(TruncationWarning, match="1 of 2 .* longer than 40 tokens") as caught:
        found = computing_embedder(max_length=40).documents(["a", long])
    assert len(caught) == 1
    expected = [reference_embedder.vector(text, max_length=40) for text in ("a", long)]
    assert array(found) == pytest.approx(array(expected), abs=1e-5)
    with pytest.raises(TooLongError, match="1 of 2"):
        computing_embedder(max_length=40, too_long="refuse").documents(["a", long])


def assert_same(found: list[Ranked], expected: list[Ranked]) -> None:
    """Compare places exactly and scores to 1e-6."""
    assert [each.index for each in found] == [each.index for each in expected]
    scores = [each.score for each in expected]
    assert [each.score for each in found] == pytest.approx(scores, abs=1e-6)


def _template(reference: ReferenceReranker, query: str) -> int:
    """Return the tokens of a prompt without a document."""
    encoder = reference.encoder
    head = f"<Instruct>: {DEFAULT_TASK}\n<Query>: {query}\n<Document>: "
    return len(encoder.template(PREFIX)) + len(encoder.text(head)) + len(encoder.template(SUFFIX))
