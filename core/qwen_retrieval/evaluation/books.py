"""What a sweep computed, and what that makes each setting cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from qwen_retrieval.evaluation.setting import Costs, Setting
from qwen_retrieval.evaluation.tokens import Counted


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


class Books:
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
