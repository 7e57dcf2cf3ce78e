"""The demo's corpus and judged questions, and the guard that keeps them out of training."""

from __future__ import annotations

import sys
from functools import cache
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "examples"

_SHORTEST_TELLING = 16  # characters; "Return self." says nothing about its entry


@cache
def _examples() -> ModuleType:
    spec = spec_from_file_location("stdlib_entries", EXAMPLES / "stdlib_entries.py")
    if spec is None or spec.loader is None:
        message = f"no stdlib_entries.py in {EXAMPLES}"
        raise FileNotFoundError(message)
    module = module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclasses look themselves up there
    spec.loader.exec_module(module)
    return module


@cache
def entries() -> list[Any]:
    """Return the documentation entries of the running interpreter, in their fixed order."""
    return list(_examples().stdlib_entries())


def questions() -> list[Any]:
    """Return the judged questions (fields `text` and `relevant`)."""
    return list(_examples().load_questions())


@cache
def answer_ids() -> frozenset[str]:
    """Return the ids of all entries that answer a judged question."""
    return frozenset(entry for question in questions() for entry in question.relevant)


@cache
def _answer_texts() -> tuple[str, ...]:
    answers = answer_ids()
    return tuple(_plain(entry.text) for entry in entries() if entry.id in answers)


@cache
def is_from_an_answer(text: str) -> bool:
    """Say whether a text repeats the wording of an entry that answers a judged question."""
    plain = _plain(text).rstrip(".")
    return len(plain) >= _SHORTEST_TELLING and any(plain in answer for answer in _answer_texts())


def _plain(text: str) -> str:
    return " ".join(text.split()).lower()
