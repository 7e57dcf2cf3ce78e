"""The text that the tokenizer's vocabulary is trained on."""

from __future__ import annotations

import random

from .material import SOURCES, read_pairs

_MOST = {"packages": 60_000, "debian": 50_000, "shell": 12_000, "gloss": 80_000, "example": 30_000}


def tokenizer_texts(seed: int) -> list[str]:
    """Return texts of every source, prose before code and the standard library several times."""
    rng = random.Random(seed)
    texts: list[str] = []
    for source in SOURCES:
        pairs = read_pairs(source)
        rng.shuffle(pairs)
        has_code = source in {"stdlib", "packages", "shell"}
        for pair in pairs[: _MOST.get(source, len(pairs))]:
            kept = [pair.query[:400], pair.positive[: 100 if has_code else 500], pair.title]
            texts += kept * (4 if source == "stdlib" else 1)
    return texts
