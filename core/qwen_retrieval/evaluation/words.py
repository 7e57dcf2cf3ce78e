"""From texts to the words that BM25 counts, by language."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from functools import lru_cache
from importlib.util import find_spec

import bm25s.stopwords
import regex
import Stemmer

from qwen_retrieval.errors import SettingsError

Words = Callable[[str], list[str]]

PLAIN = "plain"
"""Runs of letters and digits as they stand, without stemming: what any text can be split into."""

# Not `re`, whose \w tears the words of Indic scripts apart at every vowel sign.
_ANY = regex.compile(r"\w+")
_TWO_OR_MORE = regex.compile(r"\b\w\w+\b")
_CACHED_STEMS = 2**16

STEMMERS = {
    "ar": "arabic", "ca": "catalan", "da": "danish", "de": "german", "el": "greek",
    "en": "english", "es": "spanish", "et": "estonian", "eu": "basque", "fi": "finnish",
    "fr": "french", "ga": "irish", "hi": "hindi", "hu": "hungarian", "hy": "armenian",
    "id": "indonesian", "it": "italian", "lt": "lithuanian", "ne": "nepali", "nl": "dutch",
    "no": "norwegian", "pt": "portuguese", "ro": "romanian", "ru": "russian", "sr": "serbian",
    "sv": "swedish", "ta": "tamil", "tr": "turkish", "yi": "yiddish",
}  # fmt: skip
"""Snowball's name of each language that it stems."""
UNSPACED = ("zh", "ja", "th", "ko")
"""Languages whose words are not what stands between spaces."""
LANGUAGES = (*sorted(STEMMERS), *UNSPACED, PLAIN)

_STOP_WORDS = {
    "da": "DANISH", "de": "GERMAN", "en": "EN", "es": "SPANISH", "fr": "FRENCH", "it": "ITALIAN",
    "nl": "DUTCH", "no": "NORWEGIAN", "pt": "PORTUGUESE", "ru": "RUSSIAN", "sv": "SWEDISH",
    "tr": "TURKISH",
}  # fmt: skip
_SCRIPTS = {
    "ja": regex.compile(r"[\p{Hiragana}\p{Katakana}]"),
    "zh": regex.compile(r"\p{Han}"),
    "ko": regex.compile(r"\p{Hangul}"),
    "th": regex.compile(r"\p{Thai}"),
    "hi": regex.compile(r"\p{Devanagari}"),
    "ta": regex.compile(r"\p{Tamil}"),
    "ar": regex.compile(r"\p{Arabic}"),
    "el": regex.compile(r"\p{Greek}"),
    "hy": regex.compile(r"\p{Armenian}"),
}


def words_of(language: str) -> Words:
    """Return the function that splits a text of this language into what BM25 counts.

    English loses its stop words; every language of Snowball is stemmed; Chinese is split by jieba
    where that is installed; other unspaced languages into pairs of characters.

    Raises:
        SettingsError: the language is unknown.
    """
    if language not in LANGUAGES:
        raise SettingsError(
            f"language is {language!r}; choose one of {list(LANGUAGES)}, or leave it to detection."
        )
    if language == PLAIN:
        return lambda text: _ANY.findall(text.lower())
    if language == "zh" and has_jieba():
        return _chinese()
    if language in UNSPACED:
        return _pairs
    stem = lru_cache(_CACHED_STEMS)(Stemmer.Stemmer(STEMMERS[language]).stemWord)
    pattern = _TWO_OR_MORE if language in _STOP_WORDS else _ANY
    stop_words = frozenset(bm25s.stopwords.STOPWORDS_EN if language == "en" else ())
    return lambda text: [
        stem(word) for word in pattern.findall(text.lower()) if word not in stop_words
    ]


def has_jieba() -> bool:
    """Say whether Chinese is split into words rather than pairs of characters."""
    return find_spec("jieba") is not None


def detect(texts: Sequence[str]) -> str:
    """Return the language of texts, by their script and their stop words, or "plain"."""
    joined = "\n".join(text[:1000] for text in texts).lower()
    letters = sum(map(str.isalpha, joined))
    for language, script in _SCRIPTS.items():
        # A page in Chinese holds Latin names; one in Japanese is largely Han.
        if letters > 0 and len(script.findall(joined)) / letters > (
            0.05 if language == "ja" else 0.3
        ):
            return language
    counts = Counter(_ANY.findall(joined))
    total = sum(counts.values())
    shares = {
        language: sum(counts[word] for word in set(_stop_words(name))) / max(total, 1)
        for language, name in _STOP_WORDS.items()
    }
    best = max(shares, key=lambda language: shares[language])
    return best if shares[best] > 0.1 else PLAIN  # noqa: PLR2004 - prose has about four tenths


def _stop_words(name: str) -> tuple[str, ...]:
    found: tuple[str, ...] = getattr(bm25s.stopwords, f"STOPWORDS_{name}")
    return found


def _pairs(text: str) -> list[str]:
    runs = _ANY.findall(text.lower())
    return [run[at : at + 2] for run in runs for at in range(max(len(run) - 1, 1))]


def _chinese() -> Words:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of its own spelling when it is imported
        import jieba  # noqa: PLC0415 - an extra
    jieba.setLogLevel("ERROR")
    return lambda text: [word for word in jieba.lcut(text.lower()) if _ANY.search(word)]
