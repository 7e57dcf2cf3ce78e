"""Texts for tests: many lengths, several scripts, the things that go wrong."""

from __future__ import annotations

import random
from typing import Any

PASSAGES = (
    "The capital of China is Beijing.",
    (
        "Gravity is a force that attracts two bodies towards each other. It gives weight to"
        " physical objects and is responsible for the movement of planets around the sun."
    ),
    "Die Straße führt über den Fluß; schöne Grüße aus München!",
    "¿Cuál es la capital de España? Madrid, señor — claro.",
    "भारत की राजधानी नई दिल्ली है और यमुना नदी के किनारे बसी है।",
    "北京是中国的首都,有两千多万居民。",
    'def add(a, b):\n    """Return a + b."""\n    return a + b  # {braces} and %s stay\n',
    "e\u0301 in two code points, \u200bzero width, 👩‍👩‍👧 family, tab\there",
)


def long_text(seed: int, characters: int) -> str:
    """Return mixed text of that many characters."""
    chosen = random.Random(seed)
    text = ""
    while len(text) < characters:
        text += chosen.choice(PASSAGES) + chosen.choice((" ", "\n", "\n\n", "  "))
    return text[:characters]


def of_length(tokenizer: Any, tokens: int, seed: int) -> str:
    """Return mixed text that the tokenizer makes exactly that many ids of."""
    text = ""
    for character in long_text(seed, 8 * tokens + 8):
        longer = text + character
        ids = tokenizer(longer, add_special_tokens=False)["input_ids"]
        if len(ids) > tokens:
            # One character more than fits: fill up with what is a token of its own.
            break
        text = longer
        if len(ids) == tokens:
            return text
    while len(tokenizer(text, add_special_tokens=False)["input_ids"]) < tokens:
        text += "\n" if text.endswith("1") else "1"
    return text


def ragged(tokenizer: Any, lengths: list[int], seed: int = 0) -> list[str]:
    """Return one text for each number of tokens, in random order."""
    texts = [of_length(tokenizer, length, seed + length) for length in lengths]
    random.Random(seed).shuffle(texts)
    return texts
