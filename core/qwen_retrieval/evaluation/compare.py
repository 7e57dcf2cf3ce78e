"""Sweep over settings: each text embedded once a model and instruction, each pair scored once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Literal

import numpy as np

from qwen_retrieval.errors import SettingsError
from qwen_retrieval.evaluation.flow import with_preset
from qwen_retrieval.evaluation.measures import MAIN, MEASURES, measure
from qwen_retrieval.evaluation.quantized import search_stored
from qwen_retrieval.evaluation.recommend import (
    TOLERANCE,
    Lead,
    Recommendation,
    lead,
    pareto_front,
    recommend,
)
from qwen_retrieval.evaluation.resampling import (
    RESAMPLES,
    SEED,
    interval,
    probability_best,
    resampled_means,
)
from qwen_retrieval.evaluation.search import Ranking, reordered, union
from qwen_retrieval.evaluation.setting import Costs, Grid, Setting
from qwen_retrieval.evaluation.tokens import Counted, count_pairs, count_texts, takes_instructions
from qwen_retrieval.instructions import instruction_text

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from qwen_retrieval.evaluation.collection import Collection
    from qwen_retrieval.evaluation.resampling import Values
    from qwen_retrieval.evaluation.stages import Stages
    from qwen_retrieval.settings import EmbedderSettings, RerankerSettings

KEPT = 10
"""Places of each query's ranking that a comparison keeps, to be looked at."""
_LOOKED_AT = 100
"""Places of a ranking that the measures need."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What was computed once, and how many settings share it.

    Attributes:
        what: "documents", "queries" or "pairs".
        model: that computed it.
        instruction: that it was computed with; None for documents.
        texts: how many vectors or scores there are.
        computed_now: how many of them this run computed; the others lay in the store.
        seconds: of computing all of them.
        settings: how many settings are made from them.
    """

    what: str
    model: str
    instruction: str | None
    texts: int
    computed_now: int
    seconds: float
    settings: int = 0


@dataclass(frozen=True, kw_only=True)  # no slots: what is derived is kept beside the fields
class Comparison:
    """The settings with their quality and costs, and what to make of them.

    Attributes:
        collection: what was searched.
        measure: the one that settings are compared by.
        settings: in the order tried.
        values: by measure, of shape (queries, settings).
        means: resampled means of `measure`, of shape (resamples, settings).
        costs: of each setting.
        kept: by setting, the `KEPT` best documents' places of each query, −1 where there are none.
        work: what was computed.
        seed: of the bootstrap.
    """

    collection: Collection
    measure: str
    settings: tuple[Setting, ...]
    values: dict[str, Values]
    means: Values = field(repr=False)
    costs: tuple[Costs, ...]
    kept: tuple[NDArray[np.int64], ...] = field(repr=False)
    work: tuple[Work, ...]
    seed: int

    @cached_property
    def quality(self) -> Values:
        """The mean of the chosen measure, of shape (settings,)."""
        means: Values = self.values[self.measure].mean(axis=0)
        return means

    @cached_property
    def intervals(self) -> list[tuple[float, float]]:
        """The 95 % bootstrap interval of each setting's quality."""
        return [interval(column) for column in self.means.T]

    @cached_property
    def front(self) -> list[bool]:
        """Whether each setting is on the Pareto front of quality, bytes and seconds."""
        return pareto_front(self.quality, self.costs)

    @cached_property
    def probabilities(self) -> list[float]:
        """In which part of the resamples each setting is the best of all."""
        return [float(each) for each in probability_best(self.means)]

    def recommend(
        self, budget: Costs | None = None, tolerance: float = TOLERANCE
    ) -> Recommendation:
        """Return the best setting that the budget allows, and how sure that is."""
        limits = Costs() if budget is None else budget
        values = self.values[self.measure]
        return recommend(values, self.means, self.costs, limits, tolerance)

    def lead(self, first: int, second: int) -> Lead:
        """Return how much better one setting is than another."""
        return lead(self.values[self.measure], self.means, first, second)

    @property
    def plain(self) -> int:
        """The place of what one would begin with: the first model in full, nothing reranked."""
        widest = max(
            each.dimensions for each in self.settings if each.model == self.settings[0].model
        )

        def departures(place: int) -> tuple[bool, ...]:
            each = self.settings[place]
            return (
                each.model != self.settings[0].model, each.depth > 0, each.dimensions != widest,
                each.precision != "float32", each.instruction != "default",
            )  # fmt: skip

        return min(range(len(self.settings)), key=departures)


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


@dataclass(slots=True)
class _Rate:
    """Seconds per token read, or per text where tokens cannot be counted, of one model and kind.

    Pooled over instructions: a longer one costs more because of its tokens, not because the machine
    was busy when it was measured.
    """

    seconds: float = 0.0
    units: float = 0.0

    def add(self, counted: Counted, seconds: float, texts: int) -> None:
        self.seconds += seconds
        self.units += texts * _unit(counted)

    def of(self, counted: Counted) -> float:
        """Return the seconds that one text takes."""
        return self.seconds / self.units * _unit(counted)


def _unit(counted: Counted) -> float:
    return 1.0 if counted.mean is None else counted.mean


class _Books:
    """Who read how much, and how long it took."""

    def __init__(self) -> None:
        self._work: dict[tuple[str, str, str | None], Work] = {}
        self._of: dict[tuple[str, str, str], Work] = {}
        self._counted: dict[tuple[str, str, str], Counted] = {}
        self._rates: dict[tuple[str, str], _Rate] = {}

    def note(self, work: Work, instruction: str, counted: Counted) -> None:
        """Take note of what was computed, or lay there already, for an instruction."""
        key = work.what, work.model, work.instruction
        if key not in self._work:
            self._work[key] = work
            rate = self._rates.setdefault((work.what, work.model), _Rate())
            rate.add(counted, work.seconds, work.texts)
        self._of[work.what, work.model, instruction] = self._work[key]
        self._counted[work.what, work.model, instruction] = counted

    def work(self, settings: Sequence[Setting]) -> tuple[Work, ...]:
        """Return what was computed, with how many of the settings are made from it."""
        used = Counter(
            id(self._of[what, model, setting.instruction])
            for setting in settings
            for what, model in _kinds(setting)
        )
        return tuple(replace(work, settings=used[id(work)]) for work in self._work.values())

    def costs(self, setting: Setting) -> Costs:
        """Return what a setting costs."""
        tokens: dict[str, float | None] = {}
        seconds: dict[str, float] = {}
        for what, model in _kinds(setting):
            counted = self._counted[what, model, setting.instruction]
            tokens[what] = counted.mean
            seconds[what] = self._rates[what, model].of(counted)
        asked, judged = tokens["queries"], tokens.get("pairs", 0.0)
        return Costs(
            bytes_per_document=setting.bytes_per_document,
            tokens_per_document=tokens["documents"],
            tokens_per_query=(
                None if asked is None or judged is None else asked + setting.depth * judged
            ),
            seconds_per_document=seconds["documents"],
            seconds_per_query=seconds["queries"] + setting.depth * seconds.get("pairs", 0.0),
        )


def _kinds(setting: Setting) -> list[tuple[str, str]]:
    """Return what a setting is made from, and the model that computes it."""
    kinds = [("documents", setting.model), ("queries", setting.model)]
    return kinds if setting.reranker is None else [*kinds, ("pairs", setting.reranker)]


class _Sweep:
    """The state of one `compare`."""

    def __init__(self, stages: Stages, rerankers: Sequence[RerankerSettings], grid: Grid) -> None:
        self.settings: list[Setting] = []
        self.books = _Books()
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
