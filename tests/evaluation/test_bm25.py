"""BM25 over documents on disk equals bm25s, and words are split as their language needs it."""

from __future__ import annotations

import bm25s
import numpy as np
import pytest
import Stemmer
from small import small_collection

from qwen_retrieval.errors import SettingsError
from qwen_retrieval.evaluation import bm25 as module
from qwen_retrieval.evaluation.bm25 import bm25
from qwen_retrieval.evaluation.words import PLAIN, detect, words_of


@pytest.mark.parametrize("block", [7, 4096])
def test_scores_are_those_of_bm25s(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the size of the blocks, scores and order are the library's."""
    monkeypatch.setattr(module, "_BLOCK", block)
    collection = small_collection()
    texts = collection.documents.texts(range(len(collection.documents)))
    found = bm25(collection.documents, collection.queries, 10, words_of("en"))
    options = {"stopwords": "en", "stemmer": Stemmer.Stemmer("english"), "show_progress": False}
    index = bm25s.BM25(method="lucene", k1=1.5, b=0.75)
    index.index(bm25s.tokenize(texts, **options), show_progress=False)
    tokens = bm25s.tokenize(list(collection.queries), **options)
    _, scores = index.retrieve(tokens, k=10, show_progress=False)
    hits = np.isfinite(found.scores)
    assert np.abs(found.scores[hits] - scores[hits]).max() < 1e-5
    assert (scores[~hits] == 0).all()


def test_what_shares_no_word_is_no_hit() -> None:
    """A document without any word of the query does not come back, however few there are."""
    collection = small_collection()
    found = bm25(collection.documents, ["zzyzx", ""], 10, words_of("en"))
    assert (found.places == -1).all()


@pytest.mark.parametrize(
    ("language", "text", "words"),
    [
        ("en", "The Running dogs of 7 seas", ["run", "dog", "sea"]),
        ("de", "Die Häuser", ["die", "haus"]),
        ("hi", "डिफ़ेन्स ने", ["डिफ़ेन्स", "न"]),
        ("zh", "黑豹队 2016", ["黑豹", "队", "2016"]),
        ("ja", "日本語 x", ["日本", "本語", "x"]),
        (PLAIN, "The Running dogs 7", ["the", "running", "dogs", "7"]),
    ],
)
def test_words_are_those_of_the_language(language: str, text: str, words: list[str]) -> None:
    """English loses stop words, Hindi keeps its vowel signs, Chinese is split into words."""
    if language == "zh":
        from needs import need

        need("jieba", "test")
    assert words_of(language)(text) == words


def test_an_unknown_language_is_refused() -> None:
    """The message names what there is."""
    with pytest.raises(SettingsError, match=r"language is 'klingon'; choose one of .*'en'"):
        words_of("klingon")


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Who was the first to fly over the sea, and what did it cost?", "en"),
        ("Wer ist als Erster über das Meer geflogen, und was hat es gekostet?", "de"),
        ("¿Quién fue el primero que voló sobre el mar y cuánto le costó?", "es"),
        ("最早飞越大海的人是谁？", "zh"),
        ("最初に海を飛び越えたのは誰ですか", "ja"),
        ("바다를 처음으로 건넌 사람은 누구입니까", "ko"),
        ("समुद्र के ऊपर सबसे पहले कौन उड़ा", "hi"),
        ("x = [1, 2]; foo(bar)", PLAIN),
        ("", PLAIN),
    ],
)
def test_the_language_is_detected(text: str, language: str) -> None:
    """By script or by stop words; what is neither is split plainly."""
    assert detect([text]) == language
