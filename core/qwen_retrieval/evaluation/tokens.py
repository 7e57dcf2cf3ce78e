"""How many tokens a model reads, counted by its own tokenizer on a sample and remembered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from qwen_retrieval.evaluation.stages import Stages, essence, full_width
from qwen_retrieval.factory import open_embedder, open_reranker

if TYPE_CHECKING:
    from qwen_retrieval.evaluation.search import Ranking
    from qwen_retrieval.settings import EmbedderSettings, ModelSettings, RerankerSettings

SAMPLE = 2_000
"""Texts or pairs that are counted at most, evenly spread."""


@dataclass(frozen=True, slots=True)
class Counted:
    """Mean tokens of a text with its prompt; None where the model cannot count, as on a server."""

    mean: float | None


def count_texts(
    stages: Stages, settings: EmbedderSettings, kind: Literal["query", "document"]
) -> Counted:
    """Return the mean tokens of the collection's queries, or of its documents."""
    collection = stages.collection

    def counts() -> list[int] | None:
        if kind == "query":
            texts = list(collection.queries[:: _step(len(collection.queries))])
        else:
            total = len(collection.documents)
            texts = collection.documents.texts(range(0, total, _step(total)))
        with closing(open_embedder(full_width(settings), token=stages.token)) as embedder:
            count: Any = getattr(embedder, "count_tokens", None)
            return None if count is None else list(count(texts, kind))

    digest = collection.queries_digest if kind == "query" else collection.documents.digest
    return _remembered(stages, {"of": f"tokens of a {kind}", "texts": digest}, settings, counts)


def count_pairs(stages: Stages, settings: RerankerSettings, candidates: Ranking) -> Counted:
    """Return the mean tokens of the whole prompt of a query and one of its candidates."""
    collection = stages.collection
    queries, columns = np.nonzero(candidates.places >= 0)
    chosen = slice(None, None, _step(len(queries)))
    places = candidates.places[queries[chosen], columns[chosen]].tolist()

    def counts() -> list[int] | None:
        texts = collection.documents.texts(places)
        asked = [collection.queries[query] for query in queries[chosen]]
        with closing(open_reranker(settings, token=stages.token)) as reranker:
            count: Any = getattr(reranker, "count_tokens", None)
            return None if count is None else list(count(list(zip(asked, texts, strict=True))))

    # Pairs of one query and one collection are alike, so the candidates are no part of the key.
    key = {"of": "tokens of a pair", "texts": collection.digest}
    return _remembered(stages, key, settings, counts)


def takes_instructions(stages: Stages, settings: EmbedderSettings) -> bool:
    """Say whether an embedder has a template for instructions; a server's is taken to have one."""

    def answer() -> list[int] | None:
        with closing(open_embedder(full_width(settings), token=stages.token)) as embedder:
            asked: Any = getattr(embedder, "takes_instructions", None)
            return [1 if asked is None else int(asked())]

    return _remembered(stages, {"of": "takes instructions"}, settings, answer).mean == 1


def _remembered(
    stages: Stages,
    key: dict[str, Any],
    settings: ModelSettings,
    counts: Callable[[], Sequence[int] | None],
) -> Counted:
    with stages.store.ledger({**key, "settings": essence(settings)}, np.int64) as ledger:
        if ledger.rows == 0:
            found = counts()
            ledger.append(np.array([-1] if found is None else found, np.int64))
        mean = float(np.mean(ledger.read()))
    return Counted(None if mean < 0 else mean)


def _step(total: int) -> int:
    return -(-total // SAMPLE)
