"""Hand-written training questions over the standard library, and the tenth kept for development."""

from __future__ import annotations

import json
from hashlib import sha256

from . import judged
from .settings import QUESTIONS_FOLDER


def written_questions() -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Return (training, development) pairs of question and entry id.

    A question whose entry answers a judged question is in neither. Development gets the entries
    whose id hashes into the last tenth, so that no entry is on both sides.
    """
    answers = judged.answer_ids()
    known = {entry.id for entry in judged.entries()}
    asked = {question.text.lower() for question in judged.questions()}
    training, development = [], []
    for path in sorted(QUESTIONS_FOLDER.glob("questions_*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            query, entry = row["query"], row["entry"]
            if entry in answers or entry not in known or query.lower() in asked:
                continue
            last_tenth = int(sha256(entry.encode()).hexdigest(), 16) % 10 == 9
            (development if last_tenth else training).append((query, entry))
    return training, development
