"""What the reranker learns from: a question, its candidates, and how good each of them is.

Candidates are what the token table alone finds (hard), others at random (easy), and the source
code of the answer, which is right or wrong by the instruction. How good a candidate is comes from
the person who wrote the question and, for the rest, from the teacher's cosine. Entries that answer
a judged question are no candidates.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .judge import UNFINISHED, asked
from .settings import INSTRUCTIONS
from .tasks import Function
from .teacher import Teacher

CHARACTERS = 220
HARD, EASY, REACH = 8, 2, 40
_SHARPNESS = 14.0  # of the teacher's cosines
_GOLD = 3.0
_WRONG_KIND = -5.0


@dataclass(frozen=True, slots=True)
class Candidates:
    """One training list: labels are logits of how good each document is."""

    question: str
    documents: list[str]
    labels: list[float]


class ListMaker:
    """Draws lists for questions over one collection of functions."""

    def __init__(
        self,
        functions: list[Function],
        embed: Callable[[list[str]], NDArray[np.float32]],
        teacher: Teacher,
        seed: int,
    ) -> None:
        """Embed the collection with the token table and with the teacher."""
        self._functions = functions
        self._entries = [function.entry() for function in functions]
        self._near = _unit(embed(self._entries))
        self._taught = teacher.encode(self._entries)
        self._embed, self._teacher = embed, teacher
        self._rng = random.Random(seed)

    def lists(self, questions: list[tuple[str, int]]) -> list[Candidates]:
        """Return two to three lists for each (question, place of the answer)."""
        texts = [question for question, _ in questions]
        found = np.argsort(-(_unit(self._embed(texts)) @ self._near.T), axis=1)[:, :REACH]
        taught = self._teacher.encode(texts) @ self._taught.T
        made = []
        for row, (question, answer) in enumerate(questions):
            places = self._draw(found[row], answer)
            labels = [_SHARPNESS * float(taught[row, place]) for place in places]
            labels[0] += _GOLD
            made += self._kinds(question, places, labels)
        return made

    def _draw(self, found: NDArray[np.int64], answer: int) -> list[int]:
        hard = [int(place) for place in found if place != answer]
        easy = self._rng.sample(range(len(self._functions)), EASY)
        return [answer, *self._rng.sample(hard, HARD), *(place for place in easy if place != answer)]

    def _kinds(self, question: str, places: list[int], labels: list[float]) -> list[Candidates]:
        web, code = asked(INSTRUCTIONS["web"], question), asked(INSTRUCTIONS["code"], question)
        documents = [self._entries[place][:CHARACTERS] for place in places]
        sources = [self._functions[place].code[:CHARACTERS] for place in places]
        drawn = self._rng.random()
        if drawn < 0.08:  # before the think block nothing is decided
            unfinished = [UNFINISHED + document for document in documents]
            return [Candidates(web, unfinished, [0.0] * len(documents))]
        if not sources[0]:
            return [Candidates(web, documents, labels)]
        wrong = [label + _WRONG_KIND for label in labels]
        with_code = [i for i, source in enumerate(sources) if source][:4]
        codes = [sources[i] for i in with_code]
        made = [
            Candidates(web, [*documents, *codes], [*labels, *(wrong[i] for i in with_code)]),
        ]
        if drawn < 0.4:
            made.append(
                Candidates(
                    code,
                    [*codes, *documents[:5]],
                    [*(labels[i] for i in with_code), *wrong[:5]],
                )
            )
        return made


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    return vectors / (np.linalg.norm(vectors, axis=1, keepdims=True) + 1e-9)
