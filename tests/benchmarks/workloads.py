"""What is computed: real texts, the same for every engine."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import plain_forward

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "docs" / "examples"))

from stdlib_entries import load_questions, stdlib_entries  # noqa: E402 - found by the line above

LIMIT = 8192
"""Tokens of a prompt where a workload sets no other limit."""
ABSTRACT_CHARACTERS = range(900, 1900)


@dataclass(frozen=True)
class Workload:
    """Pairs to score, queries or documents to embed; `max_length` in tokens."""

    name: str
    what: str
    pairs: list[tuple[str, str]] = field(default_factory=list)
    queries: list[str] = field(default_factory=list)
    documents: list[str] = field(default_factory=list)
    max_length: int = LIMIT

    @property
    def is_reranking(self) -> bool:
        """Whether a reranker computes it."""
        return bool(self.pairs)

    @property
    def texts(self) -> list[str]:
        """What stands in the prompt: a pair's turn, a query with its instruction, a document."""
        if self.is_reranking:
            return [plain_forward.format_instruction(None, q, d) for q, d in self.pairs]
        task = plain_forward.TASK
        queries = [plain_forward.get_detailed_instruct(task, query) for query in self.queries]
        return queries or self.documents

    def token_ids(self, tokenizer: Any) -> list[list[int]]:
        """Return what a model reads, cut to the limit."""
        if self.is_reranking:
            return plain_forward.process_inputs(tokenizer, self.texts, self.max_length)
        ids = tokenizer(self.texts, truncation=True, max_length=self.max_length)["input_ids"]
        return [list(each) for each in ids]


def workloads(*, full: bool = False) -> list[Workload]:
    """Return all of them; `full` makes R3, E3 and L as large as real jobs."""
    texts = [entry.text for entry in stdlib_entries()]
    questions = [question.text for question in load_questions()]
    short = [text for text in texts if 180 <= len(text) <= 260]
    long = _abstracts(texts)
    mixed = texts[:: len(texts) // 1000]
    many, each = (20, 50) if full else (5, 20)
    document = "\n".join(texts)
    length = 30_000 if full else 8_192
    return [
        Workload("R1", "2 queries × 16 short documents",
                 pairs=[(q, d) for n, q in enumerate(questions[:2])
                        for d in short[16 * n : 16 * n + 16]]),
        Workload("R2", "1 query × 12 abstracts", pairs=[(questions[2], d) for d in long[:12]]),
        Workload("R3", f"{many} queries × {each} mixed documents",
                 pairs=[(q, d) for n, q in enumerate(questions[:many])
                        for d in mixed[each * n : each * n + each]], max_length=1024),
        Workload("E1", "32 queries with the default instruction", queries=questions[:32]),
        Workload("E2", "24 abstracts cut at 256 tokens", documents=long[12:36], max_length=256),
        Workload("E3", "docstrings of all lengths",
                 documents=(texts[::2] if full else texts[::27])[: 2000 if full else 200],
                 max_length=2048),
        Workload("L", f"one document of {length:,} tokens", documents=[document[: 8 * length]],
                 max_length=length),
    ]  # fmt: skip


def _abstracts(texts: list[str]) -> list[str]:
    material = os.environ.get("QWEN_RETRIEVAL_MATERIAL")
    if material:
        path = Path(material) / "data" / "scifact" / "corpus.jsonl"
        with path.open(encoding="utf-8") as lines:
            texts = [json.loads(line)["text"] for line in lines]
    return [text for text in texts if len(text) in ABSTRACT_CHARACTERS][:36]
