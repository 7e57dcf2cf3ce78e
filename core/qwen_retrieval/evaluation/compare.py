"""Sweep over settings: each text embedded once a model and instruction, each pair scored once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Literal

import numpy as np

from qwen_retrieval.errors import SettingsError
from qwen_retrieval.evaluation.books import Books, Work
from qwen_retrieval.evaluation.comparison import KEPT, Comparison
from qwen_retrieval.evaluation.flow import with_preset
from qwen_retrieval.evaluation.measures import MAIN, MEASURES, measure
from qwen_retrieval.evaluation.quantized import search_stored
from qwen_retrieval.evaluation.resampling import RESAMPLES, SEED, resampled_means
from qwen_retrieval.evaluation.search import Ranking, reordered, union
from qwen_retrieval.evaluation.setting import Grid, Setting
from qwen_retrieval.evaluation.tokens import count_pairs, count_texts, takes_instructions
from qwen_retrieval.instructions import instruction_text

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from qwen_retrieval.evaluation.stages import Stages
    from qwen_retrieval.settings import EmbedderSettings, RerankerSettings

_LOOKED_AT = 100
"""Places of a ranking that the measures need."""


def compare(  # noqa: PLR0913 - what a sweep is made of
    stages: Stages,
    embedders: Sequence[EmbedderSettings],
    rerankers: Sequence[RerankerSettings] = (),
    grid: Grid | None = None,
    *,
    main_measure: str = MAIN,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> Comparison:
    """Return quality and costs of every combination in the grid, on one collection.

    Vectors are computed in full width, once a model and instruction (those of documents once a
    model), then cut and quantised. The reranker scores the union of what all settings find, at the
    greatest depth, once; it gets the setting's instruction too, its own default where a setting
    says "default" or "none", since its prompt always has one.

    Args:
        stages: the collection with its store.
        embedders: the models to compare, each as it would be used; their dimensions are not read.
        rerankers: for depths above 0.
        grid: what to combine.
        main_measure: one of `MEASURES`.
        resamples: of the bootstrap.
        seed: of the bootstrap.

    Raises:
        SettingsError: two embedders or two rerankers have one name, the grid asks for reranking
            without a reranker or the other way round, or a name in it is unknown.
    """
    chosen = Grid(depths=(0, 10, 30, 100) if rerankers else (0,)) if grid is None else grid
    _check(embedders, rerankers, chosen, main_measure)
    sweep = _Sweep(stages, rerankers, chosen)
    for embedder in embedders:
        sweep.retrieve(embedder)
    for reranker in rerankers:
        sweep.rerank(reranker)
    measured, kept = [], []
    for setting in sweep.settings:  # a whole ranking is held only while it is measured
        found = sweep.ranking(setting)
        measured.append(measure(found, stages.collection.judgements))
        kept.append(found.places[:, :KEPT].copy())
    values = {name: np.stack([each[name] for each in measured], axis=1) for name in MEASURES}
    return Comparison(
        collection=stages.collection,
        measure=main_measure,
        settings=tuple(sweep.settings),
        values=values,
        means=resampled_means(values[main_measure], resamples=resamples, seed=seed),
        costs=tuple(map(sweep.books.costs, sweep.settings)),
        kept=tuple(kept),
        work=sweep.books.work(sweep.settings),
        seed=seed,
    )


def with_instruction(settings: EmbedderSettings, name: str) -> EmbedderSettings:
    """Return an embedder's settings with the instruction that a `Setting` names."""
    if name == "default":
        return with_preset(settings)
    text = "" if name == "none" else name
    return with_preset(replace(settings, query_instruction=text, query_prompt=None))


def reranker_with_instruction(settings: RerankerSettings, name: str) -> RerankerSettings:
    """Return a reranker's settings with the instruction that a `Setting` names."""
    chosen = settings.instruction if name in {"default", "none"} else name
    return replace(settings, instruction=instruction_text(chosen))


def _check(
    embedders: Sequence[EmbedderSettings],
    rerankers: Sequence[RerankerSettings],
    grid: Grid,
    main_measure: str,
) -> None:
    for what, models in (("embedder", embedders), ("reranker", rerankers)):
        names = [each.model for each in models]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise SettingsError(f"the {what} {twice[0]} is given twice; give each once.")
    if not embedders:
        raise SettingsError("there is no embedder to compare; give at least one.")
    if max(grid.depths) > 0 and not rerankers:
        raise SettingsError(
            f"depths are {list(grid.depths)}, but there is no reranker; give one, or 0 alone."
        )
    if rerankers and max(grid.depths) == 0:
        raise SettingsError(
            "there is a reranker, but depths are 0 alone; give a depth, or leave the reranker out."
        )
    if main_measure not in MEASURES:
        raise SettingsError(f"the measure is {main_measure!r}; choose among {list(MEASURES)}.")
    for name in grid.instructions:
        instruction_text(None if name in {"default", "none"} else name)  # refuses unknown presets


class _Sweep:
    """The state of one `compare`."""

    def __init__(self, stages: Stages, rerankers: Sequence[RerankerSettings], grid: Grid) -> None:
        self.settings: list[Setting] = []
        self.books = Books()
        self._stages, self._grid = stages, grid
        self._rerankers = [each.model for each in rerankers]
        self._first: dict[Setting, Ranking] = {}
        self._scored: dict[tuple[str, str], list[dict[int, float]]] = {}

    def retrieve(self, embedder: EmbedderSettings) -> None:
        """Search with one model in every way, and note all settings that begin so."""
        full = self._embed("documents", with_instruction(embedder, "default"), "default").shape[1]
        takes = takes_instructions(self._stages, embedder)
        grid = self._grid.for_model(full, takes_instructions=takes)
        tried = list(grid.settings(embedder.model, self._rerankers))
        self.settings += tried
        k = max(_LOOKED_AT, *grid.depths)
        for name in grid.instructions:
            asking = with_instruction(embedder, name)
            documents = self._embed("documents", asking, name)
            queries = self._embed("queries", asking, name)
            asked_so = (first_stage(each) for each in tried if each.instruction == name)
            for each in dict.fromkeys(asked_so):
                find = partial(_search, queries, documents, each)
                self._first[each] = self._stages.allowed(k, find)

    def rerank(self, reranker: RerankerSettings) -> None:
        """Score what the first stages found, each pair once an instruction."""
        depth, model = max(self._grid.depths), reranker.model
        sharing: dict[RerankerSettings, list[str]] = {}
        for name in dict.fromkeys(first.instruction for first in self._first):
            sharing.setdefault(reranker_with_instruction(reranker, name), []).append(name)
        for asking, names in sharing.items():
            found = [r for first, r in self._first.items() if first.instruction in names]
            candidates = union([ranking.cut(depth) for ranking in found])
            before = self._stages.scored_pairs
            scored = self._stages.rerank(candidates, asking, candidates.places.shape[1])
            counted = count_pairs(self._stages, asking, candidates)
            work = Work(
                what="pairs",
                model=model,
                instruction=" and ".join(names),
                texts=scored.pairs,
                computed_now=self._stages.scored_pairs - before,
                seconds=scored.seconds,
            )
            by_place = _by_place(scored.ranking)
            for name in names:
                self.books.note(work, name, counted)
                self._scored[model, name] = by_place

    def ranking(self, setting: Setting) -> Ranking:
        """Return what a setting finds."""
        found = self._first[first_stage(setting)]
        if setting.reranker is None:
            return found
        return reordered(found, self._scored[setting.reranker, setting.instruction], setting.depth)

    def _embed(
        self, what: Literal["documents", "queries"], asking: EmbedderSettings, instruction: str
    ) -> NDArray[np.float32]:
        stages, before = self._stages, self._stages.embedded_texts
        embed = stages.embed_documents if what == "documents" else stages.embed_queries
        embedded = embed(asking)
        work = Work(
            what=what,
            model=asking.model,
            # Documents carry none, unless a preset says so: their vectors are then others.
            instruction=asking.document_prompt if what == "documents" else instruction,
            texts=len(embedded.vectors),
            computed_now=stages.embedded_texts - before,
            seconds=embedded.seconds,
        )
        kind: Literal["document", "query"] = "document" if what == "documents" else "query"
        self.books.note(work, instruction, count_texts(stages, asking, kind))
        return embedded.vectors


def first_stage(setting: Setting) -> Setting:
    """Return the setting without its reranking."""
    return replace(setting, reranker=None, depth=0)


def _search(
    queries: NDArray[np.float32], documents: NDArray[np.float32], setting: Setting, k: int
) -> Ranking:
    return search_stored(queries, documents, k, setting.dimensions, setting.precision)


def _by_place(ranking: Ranking) -> list[dict[int, float]]:
    return [
        dict(zip(places, scores, strict=True))
        for places, scores in zip(ranking.places.tolist(), ranking.scores.tolist(), strict=True)
    ]
