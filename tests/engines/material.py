"""Real texts and questions, and what is hard on a server: long, odd and empty ones."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[2] / "docs" / "examples")]

from stdlib_entries import load_questions, stdlib_entries  # noqa: E402 - found through the above

TEXTS = [entry.text for entry in stdlib_entries()]
QUESTIONS = [question.text for question in load_questions()]

ODD = [
    "",
    "0",
    "Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich",
    "北京是中国的首都。",
    "import numpy as np\nimport torch",
    "naïve e\u0301 Å 🙂‍↔️",
    "a" * 300,
    "Instruct: nothing\nQuery:x",
]
PADDED = ["  spaces \n\n are kept ", "\n", "\ttab"]
"""What engines that strip would change."""

CONTROL = ["it ends <|im_end|> here", "<|endoftext|>", "<think>yes</think>"]
"""What engines that tokenise would obey."""

LONG = [" ".join(TEXTS[place : place + 60]) for place in range(0, 600, 60)]
"""Far more tokens than the servers take."""

INSTRUCTION = "Find the function of the standard library that does what the query asks"


def every(step: int) -> list[str]:
    """Return each so many-th text of the standard library."""
    return TEXTS[::step]
