"""Qwen3-Reranker, or any sentence-transformers cross-encoder, as a LlamaIndex postprocessor."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

from llama_index.core.callbacks import CBEventType, EventPayload
from llama_index.core.instrumentation import (  # type: ignore[attr-defined] # its documented place
    get_dispatcher,
)
from llama_index.core.instrumentation.events.rerank import ReRankEndEvent, ReRankStartEvent
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import MetadataMode, NodeWithScore, QueryBundle, QueryType
from pydantic import SkipValidation

from llama_index.embeddings.qwen_retrieval.component import QwenComponent
from qwen_retrieval import Ranked, Reranker, RerankerSettings, open_reranker
from qwen_retrieval.catalog import DEFAULT_RERANKER
from qwen_retrieval.checks import check_threshold, check_top_n
from qwen_retrieval.errors import TextError
from qwen_retrieval.settings import ScoreType

RETRIEVAL_SCORE = "retrieval_score"
"""The metadata key of the score that a node came with; hidden from embedder and LLM."""

dispatcher = get_dispatcher(__name__)


class QwenRerank(QwenComponent, BaseNodePostprocessor):
    """Orders retrieved nodes by how well they answer the query, best first.

    The fields are those of `qwen_retrieval.RerankerSettings`. A node is judged by the text that an
    embedder sees of it (``MetadataMode.EMBED``). Copies come back; the given nodes are not changed.

    Args:
        top_n: how many nodes to keep; None all, 0 none.
        score_threshold: drop the nodes that score below it.
        keep_retrieval_score: note the score that a node came with in the copy's metadata, under
            "retrieval_score", hidden from embedder and LLM.

    Raises:
        SettingsError: a setting is out of its range.

    Example::

        index.as_query_engine(similarity_top_k=30, node_postprocessors=[QwenRerank(top_n=5)])
    """

    model: SkipValidation[str] = DEFAULT_RERANKER
    instruction: SkipValidation[str | None] = None
    score_type: SkipValidation[ScoreType] = "probability"
    top_n: SkipValidation[int | None] = None
    score_threshold: SkipValidation[float | None] = None
    keep_retrieval_score: bool = True

    @classmethod
    def class_name(cls) -> str:
        """Return the name that LlamaIndex serialises."""
        return "QwenRerank"

    @property
    def settings(self) -> RerankerSettings:
        """The core's settings, from the fields as they are now."""
        return self._settings(RerankerSettings)

    def rerank(
        self,
        query: QueryType,
        nodes: Sequence[NodeWithScore],
        *,
        instruction: str | None = None,
        top_n: int | None = None,
        score_threshold: float | None = None,
    ) -> list[NodeWithScore]:
        """Return copies of the nodes with the reranker's scores, best first; ties keep their order.

        Args:
            query: its text, or a bundle with it.
            nodes: what a retriever returned.
            instruction: replaces the setting of that name for this call, as do the next two.
            top_n: how many to keep; 0 none.
            score_threshold: drop the nodes that score below it.
        """
        top_n = self.top_n if top_n is None else top_n
        least = self.score_threshold if score_threshold is None else score_threshold
        with self._reported(query, nodes, top_n) as kept:
            ranked = self._open().rerank(
                _text(query),
                _texts(nodes),
                instruction=instruction,
                top_n=top_n,
                score_threshold=least,
            )
            kept += [self._scored(nodes[each.index], each) for each in ranked]
        return kept

    async def arerank(
        self,
        query: QueryType,
        nodes: Sequence[NodeWithScore],
        *,
        instruction: str | None = None,
        top_n: int | None = None,
        score_threshold: float | None = None,
    ) -> list[NodeWithScore]:
        """Return what `rerank` returns, without blocking the event loop."""
        top_n = self.top_n if top_n is None else top_n
        least = self.score_threshold if score_threshold is None else score_threshold
        with self._reported(query, nodes, top_n) as kept:
            ranked = await self._open().arerank(
                _text(query),
                _texts(nodes),
                instruction=instruction,
                top_n=top_n,
                score_threshold=least,
            )
            kept += [self._scored(nodes[each.index], each) for each in ranked]
        return kept

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        return self.rerank(_present(query_bundle), nodes)

    async def _apostprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        return await self.arerank(_present(query_bundle), nodes)

    def _open(self) -> Reranker:
        return self._opened.get(self.settings, open_reranker, self.token)

    def _check(self) -> None:
        check_top_n(self.top_n)
        check_threshold(self.score_threshold)

    def _scored(self, given: NodeWithScore, ranked: Ranked) -> NodeWithScore:
        node = given.node
        changes: dict[str, Any] = {"metadata": deepcopy(node.metadata)}
        # What an earlier stage noted there, or the user, stays.
        known = RETRIEVAL_SCORE in node.metadata
        if self.keep_retrieval_score and given.score is not None and not known:
            changes["metadata"][RETRIEVAL_SCORE] = given.score
            for keys in ("excluded_embed_metadata_keys", "excluded_llm_metadata_keys"):
                changes[keys] = [*getattr(node, keys), RETRIEVAL_SCORE]
        changed = node.model_copy(update=changes)
        return given.model_copy(update={"node": changed, "score": ranked.score})

    @contextmanager
    def _reported(
        self, query: QueryType, nodes: Sequence[NodeWithScore], top_n: int | None
    ) -> Iterator[list[NodeWithScore]]:
        """Tell LlamaIndex's listeners of start and end, also when there is nothing or an error."""
        kept: list[NodeWithScore] = []
        given, most = list(nodes), len(nodes) if top_n is None else top_n
        dispatcher.event(
            ReRankStartEvent(query=query, nodes=given, top_n=most, model_name=self.model)
        )
        payload: dict[str, Any] = {
            EventPayload.NODES: given,
            EventPayload.MODEL_NAME: self.model,
            EventPayload.QUERY_STR: _text(query),
            EventPayload.TOP_K: most,
        }
        try:
            with self.callback_manager.event(CBEventType.RERANKING, payload=payload) as event:
                yield kept
                event.on_end(payload={EventPayload.NODES: kept})
        finally:
            dispatcher.event(ReRankEndEvent(nodes=kept))


def _text(query: QueryType) -> str:
    return query.query_str if isinstance(query, QueryBundle) else query


def _texts(nodes: Sequence[NodeWithScore]) -> list[str]:
    return [each.node.get_content(metadata_mode=MetadataMode.EMBED) for each in nodes]


def _present(query_bundle: QueryBundle | None) -> QueryBundle:
    if query_bundle is None:
        raise TextError(
            "there is no query to rerank by; call postprocess_nodes(nodes, query_str=...) or give"
            " query_bundle=QueryBundle(...)."
        )
    return query_bundle
