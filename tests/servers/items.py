"""Where an answer's items are, and how to change a number in one, whatever the engine's shape."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import numpy as np

Number = float | None


def items_of(payload: Any) -> list[Any]:
    """Return the list of the answer's items, to be changed in place."""
    if isinstance(payload, list):
        return payload
    for name in ("data", "results", "embeddings", "scores"):
        if isinstance(payload.get(name), list):
            found: list[Any] = payload[name]
            return found
    return items_of(payload["output"])


def index_name(item: Any) -> str | None:
    """Return what the item calls its place, if it does."""
    if isinstance(item, dict):
        for name in ("index", "text_index"):
            if name in item:
                return name
    return None


def changed(item: Any, change: Callable[[list[Number]], list[Number]]) -> Any:
    """Return the item with its numbers changed; a score is a list of one."""
    if isinstance(item, list):
        return change(item)
    for name in ("embedding", "probs", "data"):
        if name in item:
            return {**item, name: _changed(item[name], change)}
    name = "relevance_score" if "relevance_score" in item else "score"
    return {**item, name: change([item[name]])[0]}


def _changed(numbers: Any, change: Callable[[list[Number]], list[Number]]) -> Any:
    if not isinstance(numbers, str):
        return change(numbers)
    row = change(np.frombuffer(base64.b64decode(numbers), "<f4").tolist())
    if any(isinstance(value, str) for value in row):
        return numbers[:-6] + "½½"  # of which base64 has none
    # Base64 knows no null: what would be one is NaN there.
    row = [np.nan if value is None else value for value in row]
    return base64.b64encode(np.asarray(row, "<f4").tobytes()).decode("ascii")
