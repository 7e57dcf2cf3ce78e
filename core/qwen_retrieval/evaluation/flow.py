"""One collection, ranked in every way asked for, and measured."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from qwen_retrieval import prompts
from qwen_retrieval.catalog import RERANK_DEPTH
from qwen_retrieval.errors import SettingsError
from qwen_retrieval.evaluation.collection import Collection
from qwen_retrieval.evaluation.progress import Progress
from qwen_retrieval.evaluation.report import Report, Run, make_run
from qwen_retrieval.evaluation.search import Ranking, with_rest
from qwen_retrieval.evaluation.setting import short
from qwen_retrieval.evaluation.stages import Stages
from qwen_retrieval.evaluation.store import Store
from qwen_retrieval.instructions import find_preset, instruction_text
from qwen_retrieval.settings import EmbedderSettings, RerankerSettings

DEPTH = RERANK_DEPTH
"""Documents that a ranking keeps; the reranker sees those asked for, the others stay behind."""


def evaluate(  # noqa: PLR0913 - each a choice of the caller's
    collection: Collection,
    *,
    embedder: EmbedderSettings | None = None,
    reranker: RerankerSettings | None = None,
    dimensions: Sequence[int | None] = (),
    depth: int = DEPTH,
    bm25: bool = True,
    language: str | None = None,
    store: Path | None = None,
    progress: Progress | None = None,
    token: str | None = None,
) -> Report:
    """Return what BM25, embedding alone and embedding with reranking are worth on a collection.

    Args:
        collection: from `read_folder` or `Collection.of`.
        embedder: ranks by vectors; its instruction may be a preset's name.
        reranker: reorders the best of the embedder, or of BM25 without one.
        dimensions: widths to cut the vectors to, from one embedding; empty takes the settings'.
            The first one's candidates are reranked.
        depth: how many candidates the reranker sees.
        bm25: whether to rank by words too, as a baseline.
        language: that BM25 splits words by; None detects it.
        store: where vectors and scores are kept; what is there is not computed again. None keeps
            them until the function returns.
        progress: is told how far it has come.
        token: for private repositories.

    Raises:
        SettingsError: there is nothing to rank by, or a setting is out of range.
        StoreError: another process uses the store.
    """
    if embedder is None and not bm25:
        raise SettingsError("there is nothing to rank by; give an embedder, or leave bm25 on.")
    if not 1 <= depth <= DEPTH:
        raise SettingsError(f"depth is {depth}; rerank from 1 to {DEPTH} documents.")
    with ExitStack() as stack:
        if store is None:
            store = Path(stack.enter_context(TemporaryDirectory()))
        stages = Stages(collection, Store(store), progress=progress, token=token)
        runs: list[Run] = []
        candidates: tuple[Run, Ranking] | None = None
        if bm25:
            language = stages.language() if language is None else language
            ranking = stages.bm25(DEPTH, language)
            runs.append(
                make_run(
                    collection, ranking, name="BM25", kind="bm25", settings={"language": language}
                )
            )
            candidates = runs[0], ranking
        if embedder is not None:
            embedder = with_preset(embedder)
            nearest = [
                _embedded(stages, replace(embedder, dimensions=width), runs[:1])
                for width in (dimensions if len(dimensions) > 0 else (embedder.dimensions,))
            ]
            runs += [run for run, _ in nearest]
            candidates = nearest[0]
        if reranker is not None and candidates is not None:
            reranker = replace(reranker, instruction=instruction_text(reranker.instruction))
            runs.append(_reranked(stages, reranker, candidates, depth, runs[:1]))
    return Report(
        collection=collection.name,
        digest=collection.digest,
        documents=len(collection.documents),
        queries=collection.query_ids,
        left_out=collection.left_out,
        not_drawn=collection.not_drawn,
        language=language if bm25 else None,
        runs=runs,
    )


def with_preset(settings: EmbedderSettings) -> EmbedderSettings:
    """Return the settings with the words of the preset that their instruction may name."""
    if settings.query_instruction is None:
        return settings
    preset = find_preset(settings.query_instruction)
    if preset is None:
        return settings
    prompt = settings.document_prompt
    if preset.document is not None and prompt is None:
        prompt = prompts.query_text("", preset.document)
    return replace(settings, query_instruction=preset.query, document_prompt=prompt)


def _embedded(
    stages: Stages, settings: EmbedderSettings, against: Sequence[Run]
) -> tuple[Run, Ranking]:
    ranking = stages.search(settings, DEPTH)
    documents, queries = stages.embed_documents(settings), stages.embed_queries(settings)
    width = documents.vectors.shape[1] if settings.dimensions is None else settings.dimensions
    run = make_run(
        stages.collection,
        ranking,
        name=f"{short(settings.model)}, {width} dimensions",
        kind="embedding",
        settings=settings.to_dict(),
        against=against,
        seconds={"documents": documents.seconds, "queries": queries.seconds},
    )
    return run, ranking


def _reranked(
    stages: Stages,
    settings: RerankerSettings,
    candidates: tuple[Run, Ranking],
    depth: int,
    against: Sequence[Run],
) -> Run:
    before, ranking = candidates
    after = stages.rerank(ranking, settings, depth)
    return make_run(
        stages.collection,
        with_rest(after.ranking, ranking),
        name=f"{before.name} + {short(settings.model)} of {depth}",
        kind="reranking",
        settings={"candidates": before.name, "depth": depth, **settings.to_dict()},
        against=list({run.name: run for run in (*against, before)}.values()),
        seconds={"reranking": after.seconds},
    )
