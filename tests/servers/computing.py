"""What a server computes for its requests, under its set-up: vectors and probabilities."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from . import networks
from .setup import Setup

Text = str | Sequence[int]
"""Text that the server tokenises, or token ids."""

PREFIX = (
    "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and"
    ' the Instruct provided. Note that the answer can only be "yes" or "no".<|im_end|>\n'
    "<|im_start|>user\n"
)
SUFFIX = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"


class TooLong(Exception):  # noqa: N818 - no error of this program: a server's answer
    """A sequence has more tokens than the server takes."""

    def __init__(self, place: int, tokens: int, limit: int) -> None:
        super().__init__(f"input {place} has {tokens} tokens of at most {limit}")
        self.place, self.tokens, self.limit = place, tokens, limit


class Computing:
    """One model behind one server."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup

    @property
    def network(self) -> networks.EmbedderNetwork | networks.RerankerNetwork:
        """The model that is served."""
        if self.setup.serves == "embedder":
            return networks.embedder(trained=self.setup.trained)
        return networks.reranker(trained=self.setup.trained)

    def ids(self, text: Text, *, special: bool = True) -> list[int]:
        """Return the ids of text, with the end token; ids are taken as they are."""
        if not isinstance(text, str):
            return list(text)
        ids = self.network.tokens(self.setup.default_prompt + text, special=special)
        if not self.setup.end:
            ids = [each for each in ids if each != self.network.end]
        return ids

    def sequences(self, texts: Sequence[Text], *, truncate: int | None = None) -> list[list[int]]:
        """Return the ids of all texts, cut to `truncate` tokens where it is given.

        Raises:
            TooLong: a sequence is longer than the server takes.
        """
        found = []
        for place, text in enumerate(texts):
            ids = self.ids(text)
            limit = self.setup.max_length if truncate is None else truncate
            if len(ids) > limit:
                if truncate is None and not self.setup.truncates:
                    raise TooLong(place, len(ids), limit)
                # A tokenizer that truncates leaves room for what it adds at the end.
                ends = isinstance(text, str) and ids[-1] == self.network.end
                ids = [*ids[: limit - 1], ids[-1]] if ends else ids[:limit]
            found.append(ids)
        return found

    def vectors(
        self,
        texts: Sequence[Text],
        *,
        dimensions: int | None = None,
        normalize: bool = True,
        truncate: int | None = None,
    ) -> NDArray[np.float64]:
        """Return one vector for each text."""
        sequences = self.sequences(texts, truncate=truncate)
        longest = max(map(len, sequences), default=0)
        rows = []
        for text, ids in zip(texts, sequences, strict=True):
            padded = [self.network.end] * (longest - len(ids) if self.setup.pads else 0)
            states = self.network((*padded, *(ids or [self.network.end])))
            row = states.mean(axis=0) if self.setup.pooling == "mean" else states[-1]
            if self.setup.constant:
                row = np.ones_like(row)
            if normalize:
                row = row / np.linalg.norm(row)
            row = row[: dimensions or None]
            if dimensions and normalize and self.setup.renormalises:
                row = row / np.linalg.norm(row)
            rows.append(np.full_like(row, np.nan) if self._overflows(text) else row)
        return np.stack(rows) if rows else np.empty((0, 0))

    def answers(self, texts: Sequence[Text], labels: Sequence[int]) -> NDArray[np.float64]:
        """Return the logits of these tokens after each finished prompt."""
        rows = []
        for text, ids in zip(texts, self.sequences(texts), strict=True):
            row = self.network(tuple(ids))[list(labels)]
            if self.setup.constant:
                row = np.zeros_like(row)
            rows.append(np.full_like(row, np.nan) if self._overflows(text) else row)
        return np.stack(rows) if rows else np.empty((0, len(labels)))

    def logits(self, texts: Sequence[Text]) -> NDArray[np.float64]:
        """Return yes − no after each finished prompt."""
        network = self.network
        assert isinstance(network, networks.RerankerNetwork)
        both = self.answers(texts, [network.no, network.yes])
        difference = both[:, 1] - both[:, 0]
        return -difference if self.setup.swaps_answers else difference

    def probabilities(self, texts: Sequence[Text]) -> NDArray[np.float64]:
        """Return P("yes") after each finished prompt."""
        return sigmoid(self.logits(texts))

    def prompt(self, query: str, document: str, instruction: str | None) -> str:
        """Return the prompt that the server's template makes."""
        if self.setup.template == "none":
            return query + document
        task = self.setup.instruction if instruction is None else instruction
        suffix = SUFFIX if self.setup.template == "exact" else SUFFIX[:-1]
        return f"{PREFIX}<Instruct>: {task}\n<Query>: {query}\n<Document>: {document}{suffix}"

    def similarities(self, query: str, documents: Sequence[str]) -> NDArray[np.float64]:
        """Return cosines, which is what an embedder's server may give for a rerank request."""
        vectors = self.vectors([query, *documents])
        return vectors[1:] @ vectors[0]

    def _overflows(self, text: Text) -> bool:
        if not self.setup.overflows:
            return False
        found = text if isinstance(text, str) else self.network.tokenizer.decode(list(text))
        return found.startswith("import") or "<Document>: import" in found


def sigmoid(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return 1 / (1 + exp(−x))."""
    return 1 / (1 + np.exp(-values))
