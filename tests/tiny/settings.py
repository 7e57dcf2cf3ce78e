"""Every number that decides what the tiny checkpoints become: sizes, seeds, steps, tasks."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
EMBEDDER_FOLDER = HERE / "embedder"
RERANKER_FOLDER = HERE / "reranker"
QUESTIONS_FOLDER = HERE / "data"

#: Caches, logs and intermediate checkpoints; never inside the repository.
WORK_FOLDER = Path(os.environ.get("TINY_WORK", str(Path.home() / ".cache" / "qwen-retrieval-tiny")))

SEED = 20_250_605
SIZE_LIMIT_BYTES = 12_000_000


@dataclass(frozen=True, slots=True)
class Shape:
    """The size of one checkpoint; everything else is as in the released config.json."""

    layers: int
    hidden: int = 256
    heads: int = 4
    key_value_heads: int = 2
    head_dim: int = 64
    intermediate: int = 512
    context: int = 32_768


VOCABULARY = 13_000  # control tokens included
EMBEDDER = Shape(layers=3)
RERANKER = Shape(layers=4, key_value_heads=4, intermediate=416)

#: What the texts of a task ask for. The first is the released models' default.
INSTRUCTIONS = {
    "web": "Given a web search query, retrieve relevant passages that answer the query",
    "code": "Given a description of a function, retrieve its source code",
    "gloss": "Given a word or phrase, retrieve its definition",
    "package": "Given a short summary, retrieve the description of the software package",
    "shell": "Given a task, retrieve the shell command that performs it",
}
