"""One tolerant reader for the answers of all engines, which never takes one item for another."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

if TYPE_CHECKING:
    from qwen_retrieval.contract import Vectors

T = TypeVar("T")

_LISTS = ("data", "results", "embeddings", "scores")


class UnreadableError(ValueError):
    """An answer is not what was asked for; the caller says whose it was.

    What was found there instead is kept apart from the sentence: it may hold the key, so that only
    who knows the key can show it.
    """

    def __init__(self, sentence: str, *found: object) -> None:
        """Keep a sentence that has a ``{}`` for each thing found."""
        super().__init__(sentence, *found)
        self._sentence = sentence
        self._found = found

    def told(self, shown: Callable[[object], str]) -> str:
        """Return the sentence with what was found, as `shown` makes text of it."""
        return self._sentence.format(*map(shown, self._found))

    def __str__(self) -> str:
        return self.told(lambda found: type(found).__name__)


def read_vectors(answer: object, count: int, width: int | None) -> list[Vectors]:
    """Return the vectors in the order in which their texts were sent.

    Args:
        answer: a bare list, or an object with it in ``data``, ``embeddings`` or ``output``.
        count: texts that were sent.
        width: of the vectors, where it is known.

    Raises:
        UnreadableError: an item is missing, double or none of ours, or widths differ.
    """
    rows = _ordered(_entries(answer), count, _vector)
    expected = len(rows[0]) if width is None else width
    for place, row in enumerate(rows):
        if row.ndim != 1 or len(row) != expected or not expected:
            raise UnreadableError(
                f"vector {place} has the shape {row.shape} where ({expected},) was expected; is"
                " this the model that `model` names, at its full width?"
            )
    return rows


def read_scores(answer: object, count: int, score: Callable[[Any], float]) -> list[float]:
    """Return the scores in the order in which their documents were sent; else as above."""
    return _ordered(_entries(answer), count, lambda entry: _number(entry, score))


def _entries(answer: object) -> Sequence[Any]:
    found = answer
    if isinstance(found, dict) and isinstance(found.get("output"), dict):
        found = found["output"]
    if isinstance(found, dict):
        found = next((found[name] for name in _LISTS if name in found), None)
    if not isinstance(found, list):
        raise UnreadableError("it holds no list of results ({})", answer)
    return found


def _ordered(entries: Sequence[Any], count: int, value: Callable[[Any], T]) -> list[T]:
    if len(entries) != count:
        raise UnreadableError(f"it holds {len(entries)} results for {count} items")
    places: list[int] = []
    for number, entry in enumerate(entries):
        if not isinstance(entry, dict):
            places.append(number)  # a bare list has no other order than the request's
            continue
        place = entry.get("index", entry.get("text_index"))
        if isinstance(place, bool) or not isinstance(place, int) or not 0 <= place < count:
            sentence = f"result {number} has the index {{}} among {count} items"
            raise UnreadableError(sentence, place)
        places.append(place)
    if len(set(places)) != count:
        double = next(place for place in places if places.count(place) > 1)
        raise UnreadableError(f"the index {double} stands there twice")
    ordered: list[T | None] = [None] * count
    for place, entry in zip(places, entries, strict=True):
        ordered[place] = value(entry)
    return ordered  # type: ignore[return-value] # every place has been filled


def _vector(entry: Any) -> Vectors:  # noqa: ANN401 - JSON
    row = entry.get("embedding") if isinstance(entry, dict) else entry
    if isinstance(row, list) and len(row) == 1 and isinstance(row[0], list):
        row = row[0]  # llama.cpp wraps a pooled vector once more
    if not isinstance(row, list | str):
        raise UnreadableError("a result holds no vector ({})", entry)
    if isinstance(row, list) and any(isinstance(number, str | bool) for number in row):
        raise UnreadableError("a vector cannot be read ({})", row)
    try:
        if isinstance(row, str):
            return np.frombuffer(base64.b64decode(row, validate=True), "<f4").astype(np.float32)
        return np.asarray(row, np.float32)  # null, as NaN is often written, becomes NaN again
    except (TypeError, ValueError, OverflowError, binascii.Error) as error:
        raise UnreadableError("a vector cannot be read ({})", str(error)) from None


def _number(entry: Any, score: Callable[[Any], float]) -> float:  # noqa: ANN401 - JSON
    value = entry
    if isinstance(entry, dict):
        names = ("relevance_score", "score", "probs")
        value = next((entry[name] for name in names if name in entry), None)
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if value is None and entry is not None:  # as NaN is often written
        return float("nan")
    if isinstance(value, str | bool):
        raise UnreadableError("a score cannot be read ({})", entry)
    try:
        return score(value)
    except (TypeError, ValueError, OverflowError):
        raise UnreadableError("a score cannot be read ({})", entry) from None
