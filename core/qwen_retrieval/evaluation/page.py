"""A comparison as one HTML file that shows everything without a network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from qwen_retrieval.evaluation.comparison_text import (
    advice,
    setting_rows,
    signed,
    work_rows,
)
from qwen_retrieval.evaluation.pictures import against_cost, gains
from qwen_retrieval.evaluation.resampling import interval, resampled_means
from qwen_retrieval.evaluation.slices import slices

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from qwen_retrieval.evaluation.comparison import Comparison
    from qwen_retrieval.evaluation.recommend import Recommendation

EXAMPLES = 6
"""Wins, and losses, whose texts are shown."""
FOUND = 3
"""Documents shown of each ranking."""
CHARACTERS = 420
"""Of a document's text that are shown."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A document in an example: its id, its place in the ranking, its text, whether it answers."""

    id: str
    rank: int | None
    text: str
    answers: bool


@dataclass(frozen=True, slots=True)
class Example:
    """One query, and what two settings found for it."""

    id: str
    query: str
    values: tuple[float, float]
    found: tuple[list[Shown], list[Shown]]
    missed: list[Shown]


def to_html(
    comparison: Comparison,
    recommendation: Recommendation,
    first: int | None = None,
    second: int | None = None,
) -> str:
    """Return the page.

    Args:
        comparison: what to show.
        recommendation: what to put first.
        first: place of the setting whose gains and losses are shown; None takes the recommended.
        second: place of the one it is set against; None takes what one would begin with, or, where
            that is the first itself, the next best.
    """
    left = recommendation.best if first is None else first
    right = _against(comparison, recommendation, left) if second is None else second
    values = comparison.values[comparison.measure]
    gained = values[:, left] - values[:, right]
    charts = [
        against_cost(comparison, "bytes_per_document", "bytes a document", recommendation.best),
        against_cost(comparison, "seconds_per_query", "time a query", recommendation.best),
        gains(gained, comparison.collection.queries, comparison.measure),
    ]
    order = np.argsort(-gained, kind="stable")
    wins = [place for place in order.tolist() if gained[place] > 0]
    losses = [place for place in order[::-1].tolist() if gained[place] < 0]
    environment = Environment(
        loader=PackageLoader("qwen_retrieval.evaluation", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["signed"] = signed
    return environment.get_template("page.html.jinja").render(
        comparison=comparison,
        advice=advice(comparison, recommendation),
        plotly=_plotly(),
        charts=[_drawn(chart) for chart in charts],
        settings=setting_rows(comparison),
        work=work_rows(comparison.work),
        names=(str(comparison.settings[left]), str(comparison.settings[right])),
        lead=comparison.lead(left, right),
        means=(comparison.quality[left], comparison.quality[right]),
        wins=len(wins),
        losses=len(losses),
        examples={
            "wins": [_example(comparison, place, left, right) for place in wins[:EXAMPLES]],
            "losses": [_example(comparison, place, left, right) for place in losses[:EXAMPLES]],
        },
        slices=_slice_rows(comparison, values[:, [left, right]]),
    )


def _against(comparison: Comparison, recommendation: Recommendation, left: int) -> int:
    if comparison.plain != left or recommendation.runner_up is None:
        return comparison.plain
    return recommendation.runner_up


def _example(comparison: Comparison, query: int, left: int, right: int) -> Example:
    collection = comparison.collection
    judged = collection.judgements[query]
    values = comparison.values[comparison.measure][query]
    rankings = [
        [place for place in comparison.kept[setting][query].tolist() if place >= 0]
        for setting in (left, right)
    ]

    def shown(places: list[int], ranked: bool) -> list[Shown]:  # noqa: FBT001 - a helper of one line
        return [
            Shown(name, rank if ranked else None, _short(text), judged.get(place, 0) > 0)
            for rank, (place, name, text) in enumerate(
                zip(
                    places,
                    collection.documents.ids(places),
                    collection.documents.texts(places),
                    strict=True,
                ),
                start=1,
            )
        ]

    top = [ranking[:FOUND] for ranking in rankings]
    missed = [
        place for place, grade in sorted(judged.items(), key=lambda each: -each[1])
        if grade > 0 and place not in {*top[0], *top[1]}
    ]  # fmt: skip
    return Example(
        id=collection.query_ids[query],
        query=collection.queries[query],
        values=(float(values[left]), float(values[right])),
        found=(shown(top[0], ranked=True), shown(top[1], ranked=True)),
        missed=shown(missed[:FOUND], ranked=False),
    )


def _slice_rows(comparison: Comparison, values: NDArray[np.float64]) -> list[dict[str, Any]]:
    rows = []
    for part in slices(comparison.collection):
        of_part = values[part.queries]
        means = resampled_means(of_part, resamples=len(comparison.means), seed=comparison.seed)
        low, high = interval(means[:, 0] - means[:, 1])
        rows.append(
            {
                "by": part.by,
                "name": part.name,
                "queries": len(part.queries),
                "means": of_part.mean(axis=0).tolist(),
                "gain": float((of_part[:, 0] - of_part[:, 1]).mean()),
                "low": low,
                "high": high,
            }
        )
    return rows


def _short(text: str) -> str:
    plain = " ".join(text.split())
    return plain if len(plain) <= CHARACTERS else f"{plain[:CHARACTERS]} …"


def _plotly() -> Markup:
    from plotly.offline import get_plotlyjs  # noqa: PLC0415 - four megabytes

    return Markup(get_plotlyjs())  # noqa: S704 - the library's own code


def _drawn(figure: Any) -> Markup:  # noqa: ANN401 - plotly is untyped
    html = figure.to_html(
        full_html=False,
        include_plotlyjs=False,
        config={"displaylogo": False, "responsive": True, "displayModeBar": False},
    )
    return Markup(html)  # noqa: S704 - texts in it are escaped by `pictures` and plotly
