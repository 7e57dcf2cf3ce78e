"""Reranking by a server."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from qwen_retrieval import stages
from qwen_retrieval.catalog import DEFAULT_INSTRUCTION
from qwen_retrieval.errors import ServerUnsupportedError, WrongModelError
from qwen_retrieval.mteb_protocols import MtebCrossEncoder
from qwen_retrieval.ranking import rank
from qwen_retrieval.servers.engine import Call, RerankEngine
from qwen_retrieval.servers.engines import rerank_engine
from qwen_retrieval.servers.handle import Check, ServerHandle
from qwen_retrieval.servers.preparing import Prompts
from qwen_retrieval.servers.reading import UnreadableError, read_scores
from qwen_retrieval.servers.tokenizer import ServedModel, read_model
from qwen_retrieval.settings import RerankerSettings
from qwen_retrieval.texts import check_pairs
from qwen_retrieval.threads import in_thread

if TYPE_CHECKING:
    from qwen_retrieval.contract import Pair, Ranked, Vectors

SCORE_BYTES = 1_000
"""Of a result in JSON without its document, at most."""


class ServerReranker(MtebCrossEncoder, ServerHandle[RerankerSettings, RerankEngine]):
    """A `Reranker` over a server."""

    def __init__(
        self,
        settings: RerankerSettings,
        *,
        token: str | None = None,
        check: Check[RerankerSettings] | None = None,
    ) -> None:
        """See `qwen_retrieval.open_reranker`; `check` is run before the first call."""
        engine = rerank_engine(settings)
        if settings.score_type == "logit" and not engine.gives_logits:
            raise ServerUnsupportedError(
                f"score_type is 'logit', but {engine.title} hands out probabilities, of which the"
                " large and the small are rounded away; set score_type='probability', or use vllm,"
                " sglang or a local model."
            )
        super().__init__(settings, token, engine, check)

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
        return self._run(self._rerank(query, documents, instruction, top_n, score_threshold))

    def score(self, pairs: Sequence[Pair], *, instruction: str | None = None) -> Vectors:
        """Return float32 scores of shape (n,) for (query, document) pairs, in the order given."""
        return self._run(self._score_pairs(pairs, instruction))

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
        work = self._rerank(query, documents, instruction, top_n, score_threshold)
        return await self._arun(work)

    async def ascore(self, pairs: Sequence[Pair], *, instruction: str | None = None) -> Vectors:
        """Return what `score` returns, without blocking the event loop."""
        return await self._arun(self._score_pairs(pairs, instruction))

    async def _rerank(
        self,
        query: str,
        documents: Sequence[str],
        instruction: str | None,
        top_n: int | None,
        score_threshold: float | None,
    ) -> list[Ranked]:
        pairs = stages.check_candidates(query, documents, top_n, score_threshold)
        return rank(await self._score(pairs, instruction), top_n, score_threshold)

    async def _score_pairs(self, pairs: Sequence[Pair], instruction: str | None) -> Vectors:
        return await self._score(check_pairs(pairs), instruction)

    async def _score(self, pairs: list[Pair], instruction: str | None) -> Vectors:
        settings, engine = self.settings, self._engine
        if not pairs:
            return np.empty(0, np.float32)
        model, served = await self._known()
        made = Prompts(model, engine, self._context(model, served))
        work = await in_thread(
            lambda stop: stages.prepare_pairs(settings, made, pairs, instruction)  # noqa: ARG005
        )
        chosen = settings.instruction if instruction is None else instruction
        call = Call(
            served.model,
            instruction=DEFAULT_INSTRUCTION if chosen is None else chosen,
            logits=settings.score_type == "logit",
            answers=made.answers,
        )
        values = await self._results(
            work,
            _groups(work.items, engine),
            lambda batch: engine.request(batch, call),
            lambda answer, count: self._values(answer, count, call),
            SCORE_BYTES,
        )
        return stages.finished_scores(
            settings, values, work.inverse, probabilities=True, remedy=self._remedy
        )

    def _values(self, answer: object, count: int, call: Call) -> list[float]:
        values = read_scores(answer, count, lambda value: self._engine.score(value, call))
        for place, value in enumerate(values):
            if not call.logits and not (0 <= value <= 1) and np.isfinite(value):
                raise UnreadableError(
                    f"score {place} is {value}, and no probability; was the model started as a"
                    " Qwen3 reranker?"
                )
        return values

    def _read(self) -> ServedModel:
        model = read_model(self.settings)
        if model.is_embedder:
            raise WrongModelError(f"{model.name} is an embedding model; open it as an embedder.")
        return model


def _groups(items: Sequence[Any], engine: RerankEngine) -> list[list[int]]:
    """Return the places of the items that may share a request."""
    if engine.takes_ids:
        return [list(range(len(items)))]
    groups: dict[str, list[int]] = {}
    for place, (query, _) in enumerate(items):
        groups.setdefault(query, []).append(place)
    return list(groups.values())
