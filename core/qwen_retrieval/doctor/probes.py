"""The texts that the doctor sends."""

from __future__ import annotations

from collections.abc import Callable, Sequence

TEXTS = (
    "What is Deep Learning?",
    "The capital of China is Beijing.",
    "sorted() returns a new list of the numbers in ascending order.",
    "Die Hauptstadt von Frankreich ist Paris; schöne Grüße.",
    "北京是中国的首都。",
)
"""Ordinary texts of several lengths and languages."""

TRAPS = (
    "import numpy as np",
    "import os\nimport sys\n\nimport torch",
    "import\timport\timport",
    "0",
    "\n\n\n",
    "🙂🙂🙂",
    "a" * 400,
)
"""Texts that came out as NaN where servers computed in float16, and their like."""

QUERIES = (
    "What is the capital of China?",
    "How do I sort a list of numbers in Python?",
    "how to read a text file line by line",
)
ANSWERS = (
    "The capital of China is Beijing.",
    "sorted() returns a new list of the numbers in ascending order.",
    "Open the file and loop over it to read each line of the text.",
)
"""The answer to each of the queries; the others' answers are wrong ones."""

INSTRUCTION = "Find the passage about animals, whatever the query asks"
"""A task that changes what is relevant."""

SENTENCE = "The archive keeps letters, maps and drawings of several centuries in good order. "
"""What a long text is made of."""


def long_text(sentences: int, last: str) -> str:
    """Return a text whose end alone differs."""
    return SENTENCE * sentences + last


def sentence_tokens(ids: Callable[[str], Sequence[int]]) -> int:
    """Return the tokens that one more sentence adds to a long text.

    Args:
        ids: of a text.
    """
    return len(ids(long_text(2, ""))) - len(ids(long_text(1, "")))
