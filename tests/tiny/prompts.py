"""The released models' prompts, byte for byte, built here without the package under test."""

from __future__ import annotations

SYSTEM = (
    "Judge whether the Document meets the requirements based on the Query and the Instruct "
    'provided. Note that the answer can only be "yes" or "no".'
)
RERANKER_PREFIX = f"<|im_start|>system\n{SYSTEM}<|im_end|>\n<|im_start|>user\n"
RERANKER_SUFFIX = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"


def embedding_query_prompt(instruction: str) -> str:
    """Return what stands before an embedding query."""
    return f"Instruct: {instruction}\nQuery:"


def reranker_head(instruction: str, query: str) -> str:
    """Return the reranking prompt up to the document, without the space before the document."""
    return f"{RERANKER_PREFIX}<Instruct>: {instruction}\n<Query>: {query}\n<Document>:"


def reranker_tail(document: str) -> str:
    """Return the reranking prompt from the document on."""
    return f" {document}{RERANKER_SUFFIX}"


def reranker_prompt(instruction: str, query: str, document: str) -> str:
    """Return the whole reranking prompt of one pair."""
    return reranker_head(instruction, query) + reranker_tail(document)
