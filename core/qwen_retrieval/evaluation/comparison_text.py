"""A comparison in words: sentences, Markdown and JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from itertools import compress
from typing import TYPE_CHECKING, Any

from qwen_retrieval.evaluation.setting import short

if TYPE_CHECKING:
    from qwen_retrieval.evaluation.books import Work
    from qwen_retrieval.evaluation.comparison import Comparison
    from qwen_retrieval.evaluation.recommend import Lead, Recommendation
    from qwen_retrieval.evaluation.setting import Costs

FORMAT = 1
"""Of the JSON; a reader refuses what it does not know."""

_SURE, _LIKELY = 0.95, 0.7


def advice(comparison: Comparison, recommendation: Recommendation) -> list[str]:
    """Return what to take and how sure that is, a sentence or two each."""
    found = recommendation
    low, high = comparison.intervals[found.best]
    total, queries = len(comparison.settings), len(comparison.collection.queries)
    said = [
        (
            f"Take {comparison.settings[found.best]}: {comparison.measure}"
            f" {comparison.quality[found.best]:.3f} ({low:.3f} to {high:.3f}),"
            f" {price(comparison.costs[found.best])}."
        ),
        f"{found.affordable} of {total} settings keep to the budget ({found.budget})."
        if found.affordable < total
        else f"All {total} settings were considered.",
        _certainty(found, queries, len(comparison.means)),
    ]
    if found.runner_up is not None and found.over_runner_up is not None:
        said.append(
            f"The next best, {comparison.settings[found.runner_up]}, is"
            f" {_behind(found.over_runner_up)}."
        )
    if found.thrifty != found.best:
        said.append(
            f"Cheaper, and surely within {found.tolerance:g} of it:"
            f" {comparison.settings[found.thrifty]},"
            f" {comparison.measure} {comparison.quality[found.thrifty]:.3f},"
            f" {price(comparison.costs[found.thrifty])}; it is {_behind(found.thrifty_loss)}."
        )
    if found.unlimited != found.best:
        said.append(
            f"Without the budget {comparison.settings[found.unlimited]} would be best; next to it"
            f" the recommended one is {_behind(found.price)}."
        )
    return said


def _certainty(found: Recommendation, queries: int, resamples: int) -> str:
    if found.affordable == 1:
        return "It is the only one that keeps to the budget, so there was nothing to choose among."
    probability = found.probability_best
    word = "That is sure" if probability >= _SURE else "That is likely"
    if probability < _LIKELY:
        word = "That is a close call"
    rivals = (
        "no other setting could be as good"
        if found.not_worse == 0
        else f"{found.not_worse} other{'s' if found.not_worse > 1 else ''} cannot be told from it"
    )
    return (
        f"{word}: it is the best in {probability:.0%} of {resamples:,} samples drawn from the"
        f" {queries:,} queries, and {rivals}."
    )


def _behind(lead: Lead) -> str:
    if lead.mean == 0 and lead.low == 0 and lead.high == 0:
        return "exactly as good on these queries"
    return f"{lead.mean:.3f} behind ({signed(lead.low)} to {signed(lead.high)})"


def price(costs: Costs) -> str:
    """Return what matters of the costs, in a line; tokens only where they are known."""
    tokens, time = costs.tokens_per_query, milliseconds(costs.seconds_per_query)
    read = "" if tokens is None else f"{tokens:,.0f} tokens and "
    return f"{costs.bytes_per_document:,.0f} bytes a document, {read}{time} a query"


def number(value: float | None) -> str:
    """Return a count, or a dash where it is not known."""
    return "–" if value is None else f"{value:,.0f}"


def milliseconds(seconds: float | None) -> str:
    """Return a short time in its unit."""
    if seconds is None:
        return "–"
    return f"{seconds * 1000:,.3g} ms" if seconds < 1 else f"{seconds:,.3g} s"


def signed(value: float) -> str:
    """Return a difference with its sign."""
    return f"{value:+.3f}".replace("-", "−")


def work_rows(work: Sequence[Work]) -> list[list[str]]:
    """Return the table of what was computed, its head first."""
    rows = [["computed", "by", "instruction", "how many", "in this run", "seconds", "settings"]]
    for each in work:
        asked = "–" if each.instruction is None else each.instruction
        rows.append(
            [each.what, short(each.model), asked, f"{each.texts:,}", f"{each.computed_now:,}",
             f"{each.seconds:,.1f}", str(each.settings)]
        )  # fmt: skip
    return rows


def setting_rows(
    comparison: Comparison, *, front_only: bool = False, narrow: bool = False
) -> list[list[str]]:
    """Return the table of settings, best first, its head first; the front is marked by a star.

    Settings are numbered in the order tried, from 1. A narrow table has the parts of a setting in
    one column, and not all of the figures.
    """
    parts = ["embedder", "instruction", "dimensions", "vectors", "reranked"]
    figures = {
        comparison.measure: True, "95 % interval": True, "best in": False,
        "bytes a document": True, "tokens a query": False, "time a query": True,
    }  # fmt: skip
    shown = [wanted or not narrow for wanted in figures.values()]
    rows = [["", "#", *([", ".join(parts)] if narrow else parts), *compress(figures, shown)]]
    quality, front = comparison.quality, comparison.front
    intervals, probabilities = comparison.intervals, comparison.probabilities
    for place in sorted(range(len(quality)), key=lambda place: -quality[place]):
        if front_only and not front[place]:
            continue
        each, costs = comparison.settings[place], comparison.costs[place]
        low, high = intervals[place]
        reranked = "–" if each.reranker is None else f"{each.depth} by {short(each.reranker)}"
        made = [
            short(each.model), each.instruction, str(each.dimensions), each.precision, reranked
        ]  # fmt: skip
        cells = [
            f"{quality[place]:.3f}", f"{low:.3f}–{high:.3f}", f"{probabilities[place]:.0%}",
            number(costs.bytes_per_document), number(costs.tokens_per_query),
            milliseconds(costs.seconds_per_query),
        ]  # fmt: skip
        together = [", ".join(cell for cell in made if cell != "–")]
        rows.append(
            ["★" if front[place] else "", str(place + 1), *(together if narrow else made),
             *compress(cells, shown)]
        )  # fmt: skip
    return rows


def to_markdown(comparison: Comparison, recommendation: Recommendation) -> str:
    """Return the advice and the tables as Markdown."""
    collection = comparison.collection
    lines = [
        f"# {_escaped(collection.name)}: {len(comparison.settings)} settings compared",
        "",
        f"{len(collection.documents):,} documents, {len(collection.queries):,} queries.",
        "",
        *(f"- {_escaped(sentence)}" for sentence in advice(comparison, recommendation)),
        "",
        "## The Pareto front",
        "",
        "No other setting is better without more bytes a document or more time a query.",
        "",
        *_table(setting_rows(comparison, front_only=True)),
        "",
        "## What was computed",
        "",
        *_table(work_rows(comparison.work)),
        "",
        "## All settings",
        "",
        *_table(setting_rows(comparison)),
        "",
    ]
    return "\n".join(lines)


def to_dict(comparison: Comparison, recommendation: Recommendation) -> dict[str, Any]:
    """Return everything as JSON-able values, the values of each query included."""
    collection = comparison.collection
    intervals, front = comparison.intervals, comparison.front
    probabilities = comparison.probabilities
    return {
        "format": FORMAT,
        "collection": {
            "name": collection.name,
            "digest": collection.digest,
            "documents": len(collection.documents),
            "queries": list(collection.query_ids),
        },
        "measure": comparison.measure,
        "bootstrap": {"resamples": len(comparison.means), "seed": comparison.seed},
        "settings": [
            {
                "name": str(setting),
                **asdict(setting),
                "means": {n: float(v[:, place].mean()) for n, v in comparison.values.items()},
                "interval": list(intervals[place]),
                "probability_best": probabilities[place],
                "pareto": front[place],
                "costs": asdict(comparison.costs[place]),
                "per_query": comparison.values[comparison.measure][:, place].round(6).tolist(),
            }
            for place, setting in enumerate(comparison.settings)
        ],
        "work": [asdict(each) for each in comparison.work],
        "recommendation": {
            **asdict(recommendation),
            "advice": advice(comparison, recommendation),
        },
    }


def to_json(comparison: Comparison, recommendation: Recommendation) -> str:
    """Return everything as JSON."""
    return json.dumps(to_dict(comparison, recommendation), ensure_ascii=False, indent=1) + "\n"


def _table(rows: list[list[str]]) -> list[str]:
    head, *body = rows
    ruler = ["---"] * len(head)
    return [f"| {' | '.join(map(_escaped, row))} |" for row in (head, ruler, *body)]


def _escaped(text: str) -> str:
    """Return text that Markdown shows as it is, on one line."""
    for mark in "\\`*_[]<>|#":
        text = text.replace(mark, f"\\{mark}")
    return " ".join(text.split())
