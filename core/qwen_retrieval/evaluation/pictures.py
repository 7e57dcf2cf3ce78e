"""Plotly figures of a comparison: quality against each cost, and gains query by query."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
from plotly import graph_objects as go
from plotly.subplots import make_subplots

from qwen_retrieval.evaluation.comparison_text import milliseconds, number
from qwen_retrieval.evaluation.setting import Precision, short

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from qwen_retrieval.evaluation.comparison import Comparison
    from qwen_retrieval.evaluation.setting import Costs

SYMBOLS: dict[Precision, str] = {
    "float32": "circle",
    "float16": "hexagon",
    "int8": "square",
    "binary": "diamond",
}
# Okabe and Ito's palette, which people with any colour vision tell apart.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#000000", "#8F7A00")
_FONT = {"family": "system-ui, sans-serif", "size": 13, "color": "#1f2430"}
_GRID = "#e4e7ee"


def against_cost(comparison: Comparison, cost: str, title: str, chosen: int) -> Any:  # noqa: ANN401
    """Return a figure of quality against one cost, a panel for each embedder.

    Colour is the depth of reranking, the shape the precision; a line joins what no other setting
    beats at that cost, and a ring marks the recommended setting.

    Args:
        comparison: what to draw.
        cost: a field of `Costs`.
        title: of the axis.
        chosen: place of the recommended setting.
    """
    settings, quality = comparison.settings, comparison.quality
    costs = np.array([_value(each, cost) for each in comparison.costs])
    models = list(dict.fromkeys(each.model for each in settings))
    figure = make_subplots(
        rows=len(models),
        shared_xaxes=True,
        vertical_spacing=0.08,
        subplot_titles=[escape(short(model)) for model in models] if len(models) > 1 else None,
    )
    stages = list(dict.fromkeys((each.reranker, each.depth) for each in settings))
    shown: set[object] = set()
    for row, model in enumerate(models, start=1):
        for shade, stage in enumerate(stages):
            for precision, symbol in SYMBOLS.items():
                places = [
                    place for place, each in enumerate(settings)
                    if (each.model, (each.reranker, each.depth), each.precision)
                    == (model, stage, precision)
                ]  # fmt: skip
                if not places:
                    continue
                name = f"{_stage_name(stage, stages)}, {precision}"
                figure.add_scatter(
                    x=costs[places],
                    y=quality[places],
                    mode="markers",
                    name=name,
                    legendgroup=name,
                    showlegend=name not in shown,
                    text=[hover(comparison, place) for place in places],
                    hovertemplate="%{text}<extra></extra>",
                    marker={
                        "symbol": symbol, "size": 9, "opacity": 0.85,
                        "color": COLOURS[shade % len(COLOURS)],
                        "line": {"width": 0.8, "color": "white"},
                    },
                    row=row,
                    col=1,
                )  # fmt: skip
                shown.add(name)
        if settings[chosen].model == model:
            figure.add_scatter(
                x=[costs[chosen]], y=[quality[chosen]], mode="markers", name="recommended",
                hoverinfo="skip", row=row, col=1,
                marker={"symbol": "circle-open", "size": 20, "color": "#b00020",
                        "line": {"width": 3}},
            )  # fmt: skip
        line = _front(costs, quality)
        figure.add_scatter(
            x=costs[line], y=quality[line], mode="lines", name="Pareto front of all",
            legendgroup="front", showlegend=row == 1, hoverinfo="skip", row=row, col=1,
            line={"color": "#8a90a0", "width": 1.5, "dash": "dot", "shape": "hv"},
        )  # fmt: skip
    ticks = _ticks(costs)
    shown_as = milliseconds if cost.startswith("seconds") else number
    figure.update_xaxes(type="log", gridcolor=_GRID, zeroline=False, showticklabels=True,
                        tickvals=ticks, ticktext=[shown_as(tick) for tick in ticks])  # fmt: skip
    figure.update_xaxes(title=title, row=len(models))
    figure.update_yaxes(title=comparison.measure, gridcolor=_GRID, zeroline=False)
    return _laid_out(figure, 300 + 260 * len(models))


def gains(values: NDArray[np.float64], names: Sequence[str], measure: str) -> Any:  # noqa: ANN401
    """Return a figure of each query's gain, the greatest first.

    Args:
        values: gain of each query.
        names: what to show for each on hovering.
        measure: what is gained.
    """
    order = np.argsort(-values, kind="stable")
    colours = ["#009E73" if value > 0 else "#D55E00" for value in values[order]]
    figure = go.Figure(
        go.Bar(
            x=np.arange(1, len(values) + 1),
            y=values[order],
            text=[escape(names[place][:120]) for place in order],
            textposition="none",
            hovertemplate="%{text}<br>%{y:+.3f}<extra></extra>",
            marker={"color": colours, "line": {"width": 0}},
        )
    )
    figure.update_layout(bargap=0, showlegend=False)
    figure.update_xaxes(title="queries, the greatest gain first", showgrid=False)
    figure.update_yaxes(title=f"gain in {measure}", gridcolor=_GRID, zerolinecolor="#8a90a0")
    return _laid_out(figure, 260)


def hover(comparison: Comparison, place: int) -> str:
    """Return what a point says of itself, as plotly's HTML with everything of the user escaped."""
    setting, costs = comparison.settings[place], comparison.costs[place]
    low, high = comparison.intervals[place]
    reranked = "not reranked"
    if setting.reranker is not None:
        reranked = f"{setting.depth} reranked by {escape(short(setting.reranker))}"
    return "<br>".join(
        [
            f"<b>{comparison.measure} {comparison.quality[place]:.3f}</b> ({low:.3f}–{high:.3f})",
            f"{escape(short(setting.model))}, {setting.dimensions} × {setting.precision}",
            f"instruction: {escape(setting.instruction[:60])}",
            reranked,
            (
                f"{costs.bytes_per_document:,.0f} bytes a document,"
                f" {milliseconds(costs.seconds_per_query)} a query"
            ),
        ]
    )


def _front(costs: NDArray[np.float64], quality: NDArray[np.float64]) -> list[int]:
    """Return the places that no cheaper one equals, the cheapest first."""
    found: list[int] = []
    for place in np.lexsort((-quality, costs)).tolist():
        if not found or quality[place] > quality[found[-1]]:
            found.append(place)
    return found


def _ticks(values: NDArray[np.float64]) -> list[float]:
    """Return 1, 2 and 5 times powers of ten within the values, and one on either side."""
    low, high = np.log10(np.nanmin(values)), np.log10(np.nanmax(values))
    exponents = np.arange(np.floor(low) - 1, np.ceil(high) + 1)
    steps = np.sort(np.outer(10.0**exponents, [1, 2, 5]).ravel())
    first = max(int(np.searchsorted(steps, 10**low * 1.001)) - 1, 0)
    last = int(np.searchsorted(steps, 10**high * 0.999))
    found: list[float] = steps[first : last + 1].tolist()
    return found


def _value(costs: Costs, name: str) -> float:
    value: float | None = getattr(costs, name)
    return np.nan if value is None else value


def _stage_name(stage: tuple[str | None, int], stages: Sequence[tuple[str | None, int]]) -> str:
    reranker, depth = stage
    if reranker is None:
        return "not reranked"
    several = len({name for name, _ in stages if name is not None}) > 1
    return f"{depth} reranked" + (f" by {escape(short(reranker))}" if several else "")


def _laid_out(figure: Any, height: int) -> Any:  # noqa: ANN401 - plotly is untyped
    figure.update_layout(
        height=height,
        margin={"l": 60, "r": 16, "t": 30, "b": 60},
        font=_FONT,
        paper_bgcolor="white",
        plot_bgcolor="white",
        legend={"orientation": "h", "yref": "container", "y": 0, "yanchor": "bottom", "x": 0},
        hoverlabel={"align": "left"},
    )
    return figure
