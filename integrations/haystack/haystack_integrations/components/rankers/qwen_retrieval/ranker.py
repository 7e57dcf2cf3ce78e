"""Documents to documents in a better order."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

from haystack import Document, component

from haystack_integrations.common.qwen_retrieval.base import ModelComponent
from haystack_integrations.common.qwen_retrieval.documents import check_fields, texts_of
from qwen_retrieval import Ranked, Reranker, RerankerSettings, open_reranker
from qwen_retrieval.catalog import DEFAULT_RERANKER
from qwen_retrieval.checks import check_threshold, check_top_n
from qwen_retrieval.settings import ScoreType


@component
@dataclass(kw_only=True, eq=False)
class QwenRanker(ModelComponent[RerankerSettings, Reranker]):
    """Gives copies of documents, best first, with the reranker's score in `score`.

    Takes every field of `qwen_retrieval.RerankerSettings` under its own name, and `token`. The
    score a document came with is kept in ``meta["retrieval_score"]``.

    Attributes:
        top_k: how many at most; None all, 0 none.
        score_threshold: what scores below it is left out; on the scale of the scores returned.
        scale_score: Haystack's word for `score_type`: True is "probability", False is "logit".
            None leaves it to `score_type`; else it wins.
        meta_fields_to_embed: metadata put before the content, one after the other.
        embedding_separator: put between them.
    """

    settings_type = RerankerSettings
    open_model = staticmethod(open_reranker)

    model: str = DEFAULT_RERANKER
    instruction: str | None = None
    score_type: ScoreType = "probability"
    top_k: int | None = None
    score_threshold: float | None = None
    scale_score: bool | None = None
    meta_fields_to_embed: list[str] | None = None
    embedding_separator: str = "\n"

    def __post_init__(self) -> None:
        """Refuse wrong settings; nothing is loaded."""
        check_top_n(self.top_k, "top_k")
        check_threshold(self.score_threshold)
        check_fields(self.meta_fields_to_embed)
        if self.scale_score is not None:
            self.score_type = _score_type(scale_score=self.scale_score)
        ModelComponent.__post_init__(self)

    @component.output_types(documents=list[Document])
    def run(  # noqa: PLR0913 - what a pipeline may give
        self,
        query: str,
        documents: list[Document],
        *,
        instruction: str | None = None,
        top_k: int | None = None,
        score_threshold: float | None = None,
        scale_score: bool | None = None,
    ) -> dict[str, list[Document]]:
        """Return ``{"documents": [...]}``, best first; None leaves a value as it is in init."""
        model = self._model(scale_score=scale_score)
        options = self._options(instruction, top_k, score_threshold)
        ranked = model.rerank(query, self._texts(documents), **options)
        return {"documents": _in_order(documents, ranked)}

    @component.output_types(documents=list[Document])
    async def run_async(  # noqa: PLR0913 - the same
        self,
        query: str,
        documents: list[Document],
        *,
        instruction: str | None = None,
        top_k: int | None = None,
        score_threshold: float | None = None,
        scale_score: bool | None = None,
    ) -> dict[str, list[Document]]:
        """Return what `run` returns, without blocking the event loop."""
        model = self._model(scale_score=scale_score)
        options = self._options(instruction, top_k, score_threshold)
        ranked = await model.arerank(query, self._texts(documents), **options)
        return {"documents": _in_order(documents, ranked)}

    def _model(self, *, scale_score: bool | None) -> Reranker:
        if scale_score is None:
            return self._open(self.settings)
        # Another handle on the same weights: a logit cannot be had back from a rounded probability.
        score_type = _score_type(scale_score=scale_score)
        return self._open(replace(self.settings, score_type=score_type))

    def _texts(self, documents: Sequence[Document]) -> list[str]:
        return texts_of(documents, self.meta_fields_to_embed, self.embedding_separator)

    def _options(
        self, instruction: str | None, top_k: int | None, score_threshold: float | None
    ) -> dict[str, Any]:
        check_top_n(top_k, "top_k")
        return {
            "instruction": instruction,
            "top_n": self.top_k if top_k is None else top_k,
            "score_threshold": self.score_threshold if score_threshold is None else score_threshold,
        }

    def _try(self, model: Reranker) -> None:
        model.score([("", "")])

    async def _atry(self, model: Reranker) -> None:
        await model.ascore([("", "")])


def _score_type(*, scale_score: bool) -> ScoreType:
    return "probability" if scale_score else "logit"


def _in_order(documents: Sequence[Document], ranked: Sequence[Ranked]) -> list[Document]:
    return [_scored(documents[each.index], each.score) for each in ranked]


def _scored(document: Document, score: float) -> Document:
    kept = {} if document.score is None else {"retrieval_score": document.score}
    return replace(document, score=score, meta={**deepcopy(document.meta), **kept})
