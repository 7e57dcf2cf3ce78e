"""Which of the contract's classes are tried here: the core's and each framework's."""

from __future__ import annotations

from typing import Any

OURS = {"core", "langchain", "langchain_cross_encoder", "llama_index", "haystack"}


def is_ours(subject: type[Any]) -> bool:
    """Say whether it is neither a double nor a client of a server that is faked."""
    return subject.name in OURS
