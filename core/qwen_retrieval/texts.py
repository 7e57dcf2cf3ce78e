"""Checks on what users hand in as text: nothing is changed, only refused with a reason."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TypeVar

from qwen_retrieval.contract import Pair
from qwen_retrieval.errors import NotTextError, TextError

T = TypeVar("T")

_SURROGATE = re.compile("[\ud800-\udfff]")


def check_text(text: object, name: str) -> str:
    """Return the text as it is.

    Raises:
        NotTextError: it is no ``str``. Empty and whitespace text is valid.
        TextError: it holds a lone surrogate, which no UTF-8 text can.
    """
    if not isinstance(text, str):
        raise NotTextError(f"{name} is {type(text).__name__} ({text!r:.60}); give a str.")
    # An ASCII text, which most are, cannot hold one; the flag is free to ask for.
    found = None if text.isascii() else _SURROGATE.search(text)
    if found is not None:
        raise TextError(
            f"{name} holds the lone surrogate U+{ord(found.group()):04X} at position"
            f" {found.start()}; decode the source with errors='replace' or remove it."
        )
    return text


def check_texts(texts: Sequence[str], name: str) -> list[str]:
    """Return the texts as a list, unchanged, or raise as `check_text` does, naming the place."""
    if isinstance(texts, str):
        raise NotTextError(f"a list of {name} texts is needed, not one str: give [{texts!r:.40}].")
    return [check_text(text, f"{name} {place}") for place, text in enumerate(texts)]


def check_pairs(pairs: Sequence[Pair]) -> list[Pair]:
    """Return the (query, document) pairs as a list, unchanged, or raise naming the place."""
    checked: list[Pair] = []
    for place, pair in enumerate(pairs):
        if isinstance(pair, str) or len(pair) != 2:  # noqa: PLR2004 - a pair has two
            raise NotTextError(f"pair {place} is {pair!r:.60}; give (query, document).")
        query, document = pair
        checked.append(
            (check_text(query, f"query of pair {place}"), check_text(document, f"document {place}"))
        )
    return checked


def unique(items: Sequence[T]) -> tuple[list[T], list[int]]:
    """Return each distinct item once, in order, and for every input the place of its item there."""
    places: dict[T, int] = {}
    inverse = [places.setdefault(item, len(places)) for item in items]
    return list(places), inverse
