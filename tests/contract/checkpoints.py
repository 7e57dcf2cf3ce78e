"""Where the checkpoints are that the suite computes with: the tiny trained ones."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

TINY = Path(__file__).resolve().parent.parent / "tiny"


@dataclass(frozen=True, slots=True)
class Checkpoints:
    """Folders of an embedder and a reranker."""

    embedder: Path = TINY / "embedder"
    reranker: Path = TINY / "reranker"
