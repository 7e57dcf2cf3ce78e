"""Reranking in this process."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Event
from typing import TYPE_CHECKING

import numpy as np

from qwen_retrieval.catalog import RERANKER_MAX_LENGTH
from qwen_retrieval.errors import WrongModelError
from qwen_retrieval.local.checkpoint import read_checkpoint, require_reranker
from qwen_retrieval.local.handle import Handle
from qwen_retrieval.local.loading import devices, load_cross_encoder
from qwen_retrieval.local.scorers import RerankerReplica
from qwen_retrieval.local.threads import in_thread
from qwen_retrieval.local.weights import Shelf
from qwen_retrieval.mteb_protocols import MtebCrossEncoder
from qwen_retrieval.ranking import rank
from qwen_retrieval.settings import RerankerSettings, check_threshold, check_top_n
from qwen_retrieval.texts import check_pairs, check_text, check_texts, unique
from qwen_retrieval.vectors import check_finite

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder

    from qwen_retrieval.contract import Pair, Ranked, Vectors


class LocalReranker(MtebCrossEncoder, Handle[RerankerSettings, RerankerReplica]):
    """A `Reranker` over a sentence-transformers CrossEncoder in this process."""

    shelf: Shelf[RerankerReplica] = Shelf()

    def __init__(
        self,
        settings: RerankerSettings,
        *,
        token: str | None = None,
        loaded: CrossEncoder | None = None,
    ) -> None:
        """See `qwen_retrieval.open_reranker`."""
        super().__init__(settings, token, loaded)

    def rerank(
        self,
        query: str,
        documents: Sequence[str],
        *,
        instruction: str | None = None,
        top_n: int | None = None,
        score_threshold: float | None = None,
    ) -> list[Ranked]:
        """Return the documents' places and scores, best first; ties keep the input order."""
        return self._rerank(query, documents, instruction, top_n, score_threshold)

    def score(self, pairs: Sequence[Pair], *, instruction: str | None = None) -> Vectors:
        """Return float32 scores of shape (n,) for (query, document) pairs, in the order given."""
        return self._score_pairs(pairs, instruction)

    async def arerank(
        self,
        query: str,
        documents: Sequence[str],
        *,
        instruction: str | None = None,
        top_n: int | None = None,
        score_threshold: float | None = None,
    ) -> list[Ranked]:
        """Return what `rerank` returns, without blocking the event loop."""
        return await in_thread(self._rerank, query, documents, instruction, top_n, score_threshold)

    async def ascore(self, pairs: Sequence[Pair], *, instruction: str | None = None) -> Vectors:
        """Return what `score` returns, without blocking the event loop."""
        return await in_thread(self._score_pairs, pairs, instruction)

    def count_tokens(self, pairs: Sequence[Pair], *, instruction: str | None = None) -> list[int]:
        """Return how many tokens the whole prompt of each (query, document) pair has."""
        replica = self.replicas()[0]
        chosen = self.settings.instruction if instruction is None else instruction
        return replica.count(check_pairs(pairs), chosen, self._limit(replica, RERANKER_MAX_LENGTH))

    def load(self) -> list[RerankerReplica]:
        """Return one replica for each device."""
        if self._loaded is not None:
            return [RerankerReplica(_checked(self._loaded), self.settings.model, changing=True)]
        checkpoint = read_checkpoint(self.settings, self._token)
        require_reranker(checkpoint)
        return [
            RerankerReplica(
                load_cross_encoder(checkpoint, self.settings, device, self._token),
                self.settings.model,
            )
            for device in devices(self.settings)
        ]

    def _rerank(  # noqa: PLR0913 - the contract's own arguments
        self,
        query: str,
        documents: Sequence[str],
        instruction: str | None,
        top_n: int | None,
        score_threshold: float | None,
        stop: Event | None = None,
    ) -> list[Ranked]:
        check_top_n(top_n)
        check_threshold(score_threshold)
        check_text(query, "query")
        pairs = [(query, document) for document in check_texts(documents, "document")]
        if top_n == 0:
            pairs = []
        return rank(self._score(pairs, instruction, stop), top_n, score_threshold)

    def _score_pairs(
        self, pairs: Sequence[Pair], instruction: str | None, stop: Event | None = None
    ) -> Vectors:
        return self._score(check_pairs(pairs), instruction, stop)

    def _score(
        self, pairs: list[Pair], instruction: str | None, stop: Event | None = None
    ) -> Vectors:
        replicas = self.replicas()
        if not pairs:
            return np.empty(0, np.float32)
        if instruction is not None:
            check_text(instruction, "instruction")
        chosen = self.settings.instruction if instruction is None else instruction
        distinct, inverse = unique(pairs)
        limit = self._limit(replicas[0], RERANKER_MAX_LENGTH)
        items, lengths, cut = replicas[0].prepare(distinct, chosen, limit)
        cut_here = set(cut)
        self._report_cut([n for n, p in enumerate(inverse) if p in cut_here], len(pairs), limit)
        rows = self._run(replicas, items, lengths, stop, waves=replicas[0].waves(items))
        if stop is not None and stop.is_set():
            return np.empty(0, np.float32)  # nobody waits for it
        logits = np.asarray(rows, np.float32)[inverse]
        check_finite(logits, "the score of pair")
        if self.settings.score_type == "logit":
            return logits
        # 1 / (1 + exp(−x)) without overflow for very negative logits.
        return np.exp(-np.logaddexp(0, -logits.astype(np.float64))).astype(np.float32)


def _checked(loaded: object) -> CrossEncoder:
    from sentence_transformers import CrossEncoder  # noqa: PLC0415 - takes seconds

    if not isinstance(loaded, CrossEncoder):
        raise WrongModelError(
            f"the loaded model is a {type(loaded).__name__}; a reranker needs a"
            " sentence_transformers.CrossEncoder."
        )
    checked: CrossEncoder = loaded
    return checked
