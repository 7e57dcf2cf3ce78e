"""What a server may have made of a text: the right sequence, and the wrong ones met in the wild.

A value that disagrees says only that something is wrong. Which of these it agrees with says what.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from qwen_retrieval import prompts
from qwen_retrieval.doctor.probes import ANSWERS, TEXTS

if TYPE_CHECKING:
    from qwen_retrieval.contract import Vectors
    from qwen_retrieval.doctor.subject import EmbedderSubject, RerankerSubject

RIGHT = "right"
NEAR_COSINE = 0.98
"""A vector of the same sequence and weights, in eight bits or more, is nearer than this."""
NEAR_SCORE = 0.02
"""The same for a probability."""
TINIEST = 1e-12


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Which candidate the values agree with.

    Attributes:
        nearest: its name.
        agrees: whether it is near enough to be it.
        right: how near the right one is: a cosine, or a difference of scores.
        best: how near the nearest one is.
    """

    nearest: str
    agrees: bool
    right: float
    best: float


def diagnose_vectors(subject: EmbedderSubject) -> Diagnosis | None:
    """Return what became of plain texts; None where there is nothing to compare with."""
    eos = subject.eos
    ids = [subject.ids(text) for text in TEXTS]
    prefix = subject.ids(prompts.query_prefix(None, None, subject.model.prompts))
    im_end = subject.ids("<|im_end|>")
    sequences = {
        RIGHT: [[*each, eos] for each in ids],
        "EOS missing": ids,
        "EOS twice": [[*each, eos, eos] for each in ids],
        "<|im_end|> instead of EOS": [[*each, *im_end] for each in ids],
        "instruction": [[*prefix, *each, eos] for each in ids],
    }
    last: Callable[[Sequence[Sequence[int]]], Vectors | None] = subject.id_vectors
    copy = subject.copy
    if copy is not None:
        last = copy.last
    known: dict[str, Vectors] = {}
    for name, made in sequences.items():
        found = last(made)
        if found is None:
            return None
        known[name] = found
    if copy is not None:
        known["mean pooling"] = copy.mean(sequences[RIGHT])
        known["pooling of the first token"] = copy.first(sequences[RIGHT])
    found = subject.text_vectors(TEXTS)
    if found.shape != known[RIGHT].shape:
        return Diagnosis("another width", agrees=False, right=0.0, best=0.0)
    near = {name: float(cosines(found, each).min()) for name, each in known.items()}
    nearest = max(near, key=near.__getitem__)
    if near[RIGHT] >= near[nearest] - 1e-6:  # a tie speaks for the server
        nearest = RIGHT
    return Diagnosis(nearest, near[nearest] >= NEAR_COSINE, near[RIGHT], near[nearest])


def diagnose_scores(
    subject: RerankerSubject, found: Mapping[str, Vectors], instruction: str | None
) -> Diagnosis | None:
    """Return what prompt a server made of pairs; None where there is nothing to compare with.

    Args:
        subject: the server.
        found: scores of all of `ANSWERS` for each query.
        instruction: that was asked for.
    """
    score: Callable[[Sequence[Sequence[int]]], Vectors | None] = subject.id_scores
    if subject.copy is not None:
        score = subject.copy.probabilities
    known: dict[str, list[Vectors]] = {}
    for query in found:
        for name, made in _prompts(query, instruction).items():
            scores = score([subject.ids(text) for text in made])
            if scores is None:
                return None
            known.setdefault(name, []).append(scores)
    whole = np.concatenate(list(found.values()))
    apart = {
        name: float(np.abs(np.concatenate(each) - whole).max()) for name, each in known.items()
    }
    apart["yes and no swapped"] = float(np.abs(1 - np.concatenate(known[RIGHT]) - whole).max())
    nearest = min(apart, key=apart.__getitem__)
    if apart[RIGHT] <= apart[nearest] + 1e-6:
        nearest = RIGHT
    return Diagnosis(nearest, apart[nearest] <= NEAR_SCORE, apart[RIGHT], apart[nearest])


def _prompts(query: str, instruction: str | None) -> dict[str, list[str]]:
    prefix, suffix = prompts.RERANKER_PREFIX, prompts.RERANKER_SUFFIX
    heads = [prompts.reranker_head(query, instruction) + document for document in ANSWERS]
    made = {
        RIGHT: [f"{prefix}{head}{suffix}" for head in heads],
        "the last newline missing": [f"{prefix}{head}{suffix[:-1]}" for head in heads],
        "no think block": [f"{prefix}{head}{suffix.split('<think>')[0]}" for head in heads],
        "no template": [query + document for document in ANSWERS],
    }
    if instruction is not None:
        made["the default instruction"] = _prompts(query, None)[RIGHT]
    return made


def cosines(left: Vectors, right: Vectors) -> Vectors:
    """Return the cosine of each row with its counterpart."""
    lengths = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    return np.asarray((left * right).sum(axis=1) / np.maximum(lengths, TINIEST))
