"""What comes before and after a model, wherever it computes: checks, cutting, order, finish."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from qwen_retrieval import prompts
from qwen_retrieval.catalog import MIN_DIMENSIONS, RERANKER_MAX_LENGTH
from qwen_retrieval.checks import check_dimensions, check_threshold, check_top_n
from qwen_retrieval.errors import SettingsError, TooLongError, TruncationWarning
from qwen_retrieval.texts import check_text, check_texts, unique
from qwen_retrieval.vectors import OVERFLOW, check_finite, cut_and_normalize

if TYPE_CHECKING:
    from qwen_retrieval.contract import Pair, Vectors
    from qwen_retrieval.settings import EmbedderSettings, ModelSettings, RerankerSettings

Prepared = tuple[Sequence[Any], list[int], list[int]]
"""Sequences ready to compute, what each takes of a batch in tokens, and the places of the cut."""


class TextPreparer(Protocol):
    """What knows an embedding model's prompts and tokens."""

    name: str
    context: int | None

    def query_prefix(self, instruction: str | None, prompt: str | None) -> str:
        """Return what stands before a query."""

    def document_prefix(self, prompt: str | None) -> str:
        """Return what stands before a document."""

    def prepare(self, texts: Sequence[str], prefix: str, limit: int) -> Prepared:
        """Return finished texts, which begin with the prefix, ready to compute."""


class PairPreparer(Protocol):
    """What knows a reranker's prompt and tokens."""

    name: str
    context: int | None

    def prepare(self, pairs: Sequence[Pair], instruction: str | None, limit: int) -> Prepared:
        """Return the whole prompt of each pair, ready to compute."""


@dataclass(frozen=True, slots=True)
class Work:
    """What a call has to compute: each distinct item once, and where its result belongs.

    Attributes:
        items: distinct prepared sequences.
        lengths: tokens of each.
        inverse: for every input the place of its item.
    """

    items: Sequence[Any]
    lengths: list[int]
    inverse: list[int]


def check_queries(
    settings: EmbedderSettings, texts: Sequence[str], instruction: str | None
) -> list[str]:
    """Return the queries unchanged, or refuse them."""
    queries = check_texts(texts, "query")
    if settings.prefixed_query == "refuse":
        prompts.check_not_prefixed(queries)
    if instruction is not None:
        check_text(instruction, "instruction")
    return queries


def finished_queries(
    settings: EmbedderSettings,
    model: TextPreparer,
    queries: Sequence[str],
    instruction: str | None,
) -> tuple[list[str], str]:
    """Return the queries as the model is to see them, and what was put before them."""
    chosen = settings.query_instruction if instruction is None else instruction
    # An instruction for this call also replaces a prompt from the settings.
    prompt = settings.query_prompt if instruction is None else None
    prefix = model.query_prefix(chosen, prompt)
    return [q if prompts.is_prefixed(q) else prefix + q for q in queries], prefix


def finished_documents(
    settings: EmbedderSettings, model: TextPreparer, documents: Sequence[str]
) -> tuple[list[str], str]:
    """Return the documents as the model is to see them, and what was put before them."""
    prefix = model.document_prefix(settings.document_prompt)
    return [prefix + text for text in documents], prefix


def prepare_texts(
    settings: EmbedderSettings, model: TextPreparer, texts: Sequence[str], prefix: str
) -> Work:
    """Return what has to be computed for finished texts; those that are cut are reported."""
    distinct, inverse = unique(texts)
    limit = sequence_limit(settings, model)
    items, lengths, cut = model.prepare(distinct, prefix, limit)
    _report_cut(settings, cut, inverse, limit)
    return Work(items, lengths, inverse)


def finished_vectors(
    settings: EmbedderSettings,
    rows: Sequence[Vectors],
    inverse: Sequence[int],
    width: int,
    *,
    remedy: str = OVERFLOW,
) -> Vectors:
    """Return the vector of every input, cut and normalised, from the distinct items' full ones."""
    full = np.stack(rows)
    vectors = cut_and_normalize(full, width, normalize=settings.normalize)[list(inverse)]
    check_finite(vectors, "the vector of text", remedy)
    return vectors


def chosen_width(settings: EmbedderSettings, full: int, *, is_qwen3: bool) -> int:
    """Return the width of the vectors that are handed out, or refuse one the model cannot give."""
    asked = settings.dimensions
    if asked is None:
        return full
    check_dimensions(asked, min(MIN_DIMENSIONS, full) if is_qwen3 else 1, full, settings.model)
    return asked


def check_candidates(
    query: str, documents: Sequence[str], top_n: int | None, score_threshold: float | None
) -> list[Pair]:
    """Return the pairs that a reranking call has to score, or refuse its arguments."""
    check_top_n(top_n)
    check_threshold(score_threshold)
    check_text(query, "query")
    pairs = [(query, document) for document in check_texts(documents, "document")]
    return [] if top_n == 0 else pairs


def prepare_pairs(
    settings: RerankerSettings, model: PairPreparer, pairs: Sequence[Pair], instruction: str | None
) -> Work:
    """Return what has to be computed for the pairs; those that are cut are reported."""
    if instruction is not None:
        check_text(instruction, "instruction")
    chosen = settings.instruction if instruction is None else instruction
    distinct, inverse = unique(pairs)
    limit = sequence_limit(settings, model, RERANKER_MAX_LENGTH)
    items, lengths, cut = model.prepare(distinct, chosen, limit)
    _report_cut(settings, cut, inverse, limit)
    return Work(items, lengths, inverse)


def finished_scores(
    settings: RerankerSettings,
    values: Sequence[Any],
    inverse: Sequence[int],
    *,
    probabilities: bool = False,
    remedy: str = OVERFLOW,
) -> Vectors:
    """Return the score of every input from the distinct items' logits.

    Args:
        settings: say which score is asked for.
        values: a number for each distinct item.
        inverse: for every input the place of its item.
        probabilities: whether the values are P("yes") already, which cannot become logits again.
        remedy: for NaN and infinity.
    """
    scores = np.asarray(values, np.float32)[list(inverse)]
    check_finite(scores, "the score of pair", remedy)
    if probabilities or settings.score_type == "logit":
        return scores
    # 1 / (1 + exp(−x)) without overflow for very negative logits.
    return np.exp(-np.logaddexp(0, -scores.astype(np.float64))).astype(np.float32)


def sequence_limit(
    settings: ModelSettings, model: TextPreparer | PairPreparer, default: int | None = None
) -> int:
    """Return the tokens a sequence may have."""
    asked, context = settings.max_length, model.context
    if asked is not None and context is not None and asked > context:
        raise SettingsError(
            f"max_length is {asked}, but {model.name} has a context of {context} tokens; give at"
            " most that."
        )
    limits = [n for n in (asked if asked is not None else default, context) if n is not None]
    return min(limits, default=1 << 30)  # a model without a limit of its own


def _report_cut(
    settings: ModelSettings, cut: Sequence[int], inverse: Sequence[int], limit: int
) -> None:
    """Warn once of texts that are too long, or refuse them if the settings say so."""
    if not cut:
        return
    distinct = set(cut)
    places = [place for place, item in enumerate(inverse) if item in distinct]
    what = (
        f"{len(places)} of {len(inverse)} texts (first: {places[0]}) are longer than {limit} tokens"
    )
    if settings.too_long == "refuse":
        raise TooLongError(f"{what}; split them, raise max_length, or set too_long='truncate'.")
    sentence = (
        f"{what} and have been cut to that; split them or raise max_length. Only documents and"
        " embedded texts are cut, never the prompt or its end."
    )
    warnings.warn(TruncationWarning(sentence, cut=len(places), limit=limit), stacklevel=5)
