"""`QwenCrossEncoder`: bare scores, for what LangChain builds on cross-encoders."""

from __future__ import annotations

from langchain_core.cross_encoders import BaseCrossEncoder

from langchain_qwen_retrieval._model import QwenRerankerModel


class QwenCrossEncoder(QwenRerankerModel, BaseCrossEncoder):
    """Scores of (query, document) pairs, for ``CrossEncoderReranker`` and own code.

    The fields are those of `qwen_retrieval.RerankerSettings`, which describes them, and ``token``.
    """

    def score(
        self, text_pairs: list[tuple[str, str]], *, instruction: str | None = None
    ) -> list[float]:
        """Return the pairs' scores in the order given; queries may differ from pair to pair."""
        scores: list[float] = self._model.score(text_pairs, instruction=instruction).tolist()
        return scores

    async def ascore(
        self, text_pairs: list[tuple[str, str]], *, instruction: str | None = None
    ) -> list[float]:
        """Return what `score` returns, without blocking the event loop."""
        model = await self._aopened()
        scores: list[float] = (await model.ascore(text_pairs, instruction=instruction)).tolist()
        return scores
