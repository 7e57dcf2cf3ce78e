"""`QwenReranker`: the second stage, as a document compressor."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import TYPE_CHECKING, Any, TypeAlias

from langchain_core.callbacks import Callbacks
from langchain_core.documents import BaseDocumentCompressor, Document
from langchain_core.runnables import RunnableLambda

from langchain_qwen_retrieval._model import QwenRerankerModel
from qwen_retrieval.checks import check_threshold, check_top_n

if TYPE_CHECKING:
    from qwen_retrieval import Ranked

    Traced: TypeAlias = RunnableLambda[dict[str, Any], list[Document]]


class QwenReranker(QwenRerankerModel, BaseDocumentCompressor):
    """Documents ordered by how well they answer a query, for ``ContextualCompressionRetriever``.

    The fields are those of `qwen_retrieval.RerankerSettings`, which describes them, ``token``, and

    Attributes:
        top_n: how many documents come back at most; None all, 0 none.
        score_threshold: documents that score below it are dropped; None keeps all.
        metadata_fields: metadata whose values the model reads too, each on a line before the text.
    """

    top_n: int | None = None
    score_threshold: float | None = None
    metadata_fields: tuple[str, ...] = ()

    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> Sequence[Document]:
        """Return copies of the documents, best first, with ``metadata["relevance_score"]``.

        Callbacks see it as a run of its own, named after the class.
        """
        run: Traced = RunnableLambda(self._compress, name=type(self).__name__)
        return run.invoke({"query": query, "documents": documents}, {"callbacks": callbacks})

    async def acompress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> Sequence[Document]:
        """Return what `compress_documents` returns, without blocking the event loop."""
        run: Traced = RunnableLambda(self._acompress, name=type(self).__name__)
        return await run.ainvoke({"query": query, "documents": documents}, {"callbacks": callbacks})

    def rerank(
        self,
        documents: Sequence[str | Document],
        query: str,
        *,
        top_n: int | None = None,
        score_threshold: float | None = None,
        instruction: str | None = None,
    ) -> list[dict[str, Any]]:
        """Return ``{"index", "relevance_score"}`` of the documents, best first.

        What is None is taken from the field of the same name.
        """
        given = self._given(documents, top_n, score_threshold)
        return _dicts(self._model.rerank(query, instruction=instruction, **given))

    async def arerank(
        self,
        documents: Sequence[str | Document],
        query: str,
        *,
        top_n: int | None = None,
        score_threshold: float | None = None,
        instruction: str | None = None,
    ) -> list[dict[str, Any]]:
        """Return what `rerank` returns, without blocking the event loop."""
        given = self._given(documents, top_n, score_threshold)
        model = await self._aopened()
        return _dicts(await model.arerank(query, instruction=instruction, **given))

    @classmethod
    def _check(cls, values: dict[str, Any]) -> None:
        check_top_n(values.get("top_n"))
        check_threshold(values.get("score_threshold"))
        super()._check(values)

    def _given(
        self, documents: Sequence[str | Document], top_n: int | None, threshold: float | None
    ) -> dict[str, Any]:
        return {
            "documents": [self._text(document) for document in documents],
            "top_n": self.top_n if top_n is None else top_n,
            "score_threshold": self.score_threshold if threshold is None else threshold,
        }

    def _text(self, document: str | Document) -> str:
        if not isinstance(document, Document):
            return document
        found = (document.metadata.get(name) for name in self.metadata_fields)
        lines = [str(value) for value in found if value is not None]
        return "\n".join([*lines, document.page_content])

    def _compress(self, given: dict[str, Any]) -> list[Document]:
        return _copies(given["documents"], self.rerank(**given))

    async def _acompress(self, given: dict[str, Any]) -> list[Document]:
        return _copies(given["documents"], await self.arerank(**given))


def _dicts(ranked: list[Ranked]) -> list[dict[str, Any]]:
    return [{"index": each.index, "relevance_score": each.score} for each in ranked]


def _copies(documents: Sequence[Document], ranked: list[dict[str, Any]]) -> list[Document]:
    return [_copy(documents[each["index"]], each["relevance_score"]) for each in ranked]


def _copy(document: Document, score: float) -> Document:
    # Vector stores hand out the very metadata that they hold, so it is copied to its depth.
    metadata = {**deepcopy(document.metadata), "relevance_score": score}
    return document.model_copy(update={"metadata": metadata})
