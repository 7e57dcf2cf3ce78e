"""Parts of a collection's queries, to see where a setting gains and where it loses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from qwen_retrieval.evaluation.collection import Collection

FEWEST = 10
"""Queries that a slice has at least: the mean of fewer says nothing."""
_PARTS = ("short", "middling", "long")


@dataclass(frozen=True, slots=True)
class Slice:
    """Some of the queries.

    Attributes:
        by: what they have in common, e.g. "length of the query".
        name: which of its values, e.g. "short: up to 47 characters".
        queries: their places.
    """

    by: str
    name: str
    queries: NDArray[np.int64]


def slices(collection: Collection) -> list[Slice]:
    """Return the queries in thirds by their length and their answers', and by their language.

    Lengths are in characters; an answer is the best-judged document. Languages are told apart by
    py3langid; those of too few queries are put together. A slice of all queries is left out.
    """
    answers = [max(judged, key=lambda place: (judged[place], -place)) for judged in
               collection.judgements]  # fmt: skip
    found = [
        *_thirds("length of the query", [len(text) for text in collection.queries]),
        *_thirds("length of the answer", list(map(len, collection.documents.texts(answers)))),
        *_languages(collection.queries),
    ]
    return [each for each in found if len(each.queries) < len(collection.queries)]


def _thirds(by: str, lengths: Sequence[int]) -> Iterator[Slice]:
    values = np.array(lengths)
    first, second = np.quantile(values, [1 / 3, 2 / 3], method="lower").tolist()
    which = np.digitize(values, [first, second], right=True)
    limits = (f"up to {first:,}", f"{first + 1:,} to {second:,}", f"over {second:,}")
    for part, (name, limit) in enumerate(zip(_PARTS, limits, strict=True)):
        members = np.flatnonzero(which == part)
        if len(members) >= FEWEST:
            yield Slice(by, f"{name}: {limit} characters", members)


def _languages(queries: Sequence[str]) -> Iterator[Slice]:
    from py3langid import classify  # noqa: PLC0415 - loads its model

    found = [classify(text)[0] for text in queries]
    often = [name for name, count in Counter(found).most_common() if count >= FEWEST]
    names = [name if name in often else "others" for name in found]
    for name in (*often, "others"):
        members = np.flatnonzero(np.array(names) == name)
        if len(members) > 0:
            yield Slice("language of the query", name, members)
