"""Reranking in this process."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Event
from typing import TYPE_CHECKING

import numpy as np

from qwen_retrieval import stages
from qwen_retrieval.catalog import RERANKER_MAX_LENGTH
from qwen_retrieval.errors import WrongModelError
from qwen_retrieval.local.checkpoint import read_checkpoint, require_reranker
from qwen_retrieval.local.handle import Handle
from qwen_retrieval.local.loading import devices, load_cross_encoder
from qwen_retrieval.local.scorers import RerankerReplica
from qwen_retrieval.local.weights import Shelf
from qwen_retrieval.mteb_protocols import MtebCrossEncoder
from qwen_retrieval.ranking import rank
from qwen_retrieval.settings import RerankerSettings
from qwen_retrieval.texts import check_pairs
from qwen_retrieval.threads import in_thread

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
        limit = stages.sequence_limit(self.settings, replica, RERANKER_MAX_LENGTH)
        return replica.count(check_pairs(pairs), chosen, limit)

    def load(self) -> list[RerankerReplica]:
        """Return one replica for each device."""
        if self._loaded is not None:
            return [RerankerReplica(_checked(self._loaded), self.settings.model, changing=True)]
        checkpoint = read_checkpoint(self.settings, self._token)
        require_reranker(checkpoint)
        replicas = [
            RerankerReplica(
                load_cross_encoder(checkpoint, self.settings, device, self._token),
                self.settings.model,
            )
            for device in devices(self.settings)
        ]
        for replica in replicas:  # the prompt is kept; the first real call is as fast as any other
            items, _, _ = replica.prepare([("?", "?")], self.settings.instruction, limit=1 << 30)
            replica.compute(items)
        return replicas

    def _rerank(  # noqa: PLR0913 - the contract's own arguments
        self,
        query: str,
        documents: Sequence[str],
        instruction: str | None,
        top_n: int | None,
        score_threshold: float | None,
        stop: Event | None = None,
    ) -> list[Ranked]:
        pairs = stages.check_candidates(query, documents, top_n, score_threshold)
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
        work = stages.prepare_pairs(self.settings, replicas[0], pairs, instruction)
        rows = self._run(replicas, work, stop, waves=replicas[0].waves(work.items))
        if stop is not None and stop.is_set():
            return np.empty(0, np.float32)  # nobody waits for it
        return stages.finished_scores(self.settings, rows, work.inverse)


def _checked(loaded: object) -> CrossEncoder:
    from sentence_transformers import CrossEncoder  # noqa: PLC0415 - takes seconds

    if not isinstance(loaded, CrossEncoder):
        raise WrongModelError(
            f"the loaded model is a {type(loaded).__name__}; a reranker needs a"
            " sentence_transformers.CrossEncoder."
        )
    checked: CrossEncoder = loaded
    return checked
