"""A small judged collection of real text: questions about the standard library, some entries."""

from __future__ import annotations

import random
import sys
from functools import cache
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2] / "docs" / "examples"))

from qwen_retrieval.evaluation.collection import Collection
from stdlib_entries import load_questions, stdlib_entries

QUESTIONS = 24
OTHERS = 80
_CHARACTERS = 400


@cache
def small_collection() -> Collection:
    """Return the first questions over their answers and some other entries, no two texts alike."""
    # Stripped, since mteb strips documents, and white space at the end is a token like others.
    entries = {entry.id: entry.text[:_CHARACTERS].strip() for entry in stdlib_entries()}
    questions = [
        (question.text, [name for name in question.relevant if name in entries])
        for question in load_questions()
    ][:QUESTIONS]
    answers = {name for _, names in questions for name in names}
    others = sorted(entries.keys() - answers)
    names = sorted({*answers, *random.Random(0).sample(others, OTHERS)})
    documents = {text: name for name in names for text in [entries[name]]}
    kept = {name: text for text, name in documents.items()}
    return Collection.of(
        kept,
        {str(place): text for place, (text, _) in enumerate(questions)},
        {
            str(place): {name: 1 for name in relevant if name in kept}
            for place, (_, relevant) in enumerate(questions)
        },
        name="standard library, small",
    )
