"""What an evaluation found, as values, JSON and Markdown."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from qwen_retrieval.evaluation.certainty import Difference, Estimate, difference, estimate
from qwen_retrieval.evaluation.collection import Collection
from qwen_retrieval.evaluation.files import check_writable, write_whole
from qwen_retrieval.evaluation.measures import MAIN, MEASURES, measure
from qwen_retrieval.evaluation.search import Ranking

FORMAT = 1
"""Of the JSON; a change that readers would stumble over counts it up."""
ENDINGS = (".json", ".md")
"""Of files that a report is written to."""
SHOWN = 10
"""Documents a query that a report names."""

Kind = Literal["bm25", "embedding", "reranking"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One way of ranking the documents, and what it was worth.

    Attributes:
        name: what tables call it.
        kind: "bm25", "embedding" or "reranking".
        settings: what it was run with, JSON-able.
        estimates: mean and interval by measure.
        per_query: values by measure, in the order of the collection's queries.
        top: ids of the first documents of each query.
        differences: in nDCG@10, to other runs by their names.
        seconds: that computing took, by stage.
    """

    name: str
    kind: Kind
    settings: Mapping[str, Any]
    estimates: Mapping[str, Estimate]
    per_query: Mapping[str, Sequence[float]]
    top: Sequence[Sequence[str]]
    differences: Mapping[str, Difference] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What `evaluate` found over one collection.

    Attributes:
        collection: its name.
        digest: of all its texts and judgements.
        documents: how many.
        queries: ids of the judged ones, in the order of all per-query values.
        left_out: judged queries without a relevant document.
        not_drawn: queries that a sample left out.
        language: that BM25 split words by.
        runs: in the order they were asked for.
    """

    collection: str
    digest: str
    documents: int
    queries: Sequence[str]
    left_out: int
    not_drawn: int
    language: str | None
    runs: Sequence[Run]

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON-able values; what a clock measured is under "seconds"."""
        return asdict(self)

    def to_markdown(self) -> str:
        """Return a table of the runs, with intervals and what the differences are worth."""
        head = ["run", *MEASURES, f"{MAIN} minus"]
        rows = [head, ["---"] * len(head)]
        for run in self.runs:
            cells = [
                interval(each) if name == MAIN else f"{each.mean:.3f}"
                for name, each in run.estimates.items()
            ]
            against = "; ".join(f"{n}: {gain(d)}" for n, d in run.differences.items())
            rows.append([run.name.replace("|", "\\|"), *cells, against.replace("|", "\\|")])
        table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
        return f"**{self.collection}**: {self.summary()}\n\n{table}\n"

    def summary(self) -> str:
        """Return in a line what was searched and asked."""
        left = f", {self.left_out} without a relevant document left out" if self.left_out else ""
        left += f", {self.not_drawn:,} not drawn" if self.not_drawn else ""
        words = f", BM25 in {self.language!r}" if self.language is not None else ""
        return f"{self.documents:,} documents, {len(self.queries):,} queries{left}{words}"


def to_json(reports: Sequence[Report]) -> str:
    """Return reports as JSON; what a clock measured stands under "seconds" alone."""
    whole = {"format": FORMAT, "reports": [report.to_dict() for report in reports]}
    return json.dumps(whole, ensure_ascii=False, indent=1) + "\n"


def save(reports: Sequence[Report], path: Path) -> None:
    """Write reports as Markdown or JSON, as the file's name ends; whole or not at all.

    Raises:
        SettingsError: the name ends otherwise, or the file cannot be written.
    """
    check_writable(path, ENDINGS)
    markdown = path.suffix.lower() == ".md"
    text = "\n".join(each.to_markdown() for each in reports) if markdown else to_json(reports)
    write_whole(path, text)


def make_run(  # noqa: PLR0913 - a record of what is known
    collection: Collection,
    ranking: Ranking,
    *,
    name: str,
    kind: Kind,
    settings: Mapping[str, Any],
    against: Sequence[Run] = (),
    seconds: Mapping[str, float] | None = None,
) -> Run:
    """Return a ranking measured, with its differences to earlier runs."""
    values = measure(ranking, collection.judgements)
    return Run(
        name=name,
        kind=kind,
        settings=settings,
        estimates={each: estimate(found) for each, found in values.items()},
        per_query={each: found.tolist() for each, found in values.items()},
        top=[
            collection.documents.ids([int(place) for place in row if place >= 0])
            for row in ranking.cut(SHOWN).places
        ],
        differences={
            other.name: difference(values[MAIN], np.asarray(other.per_query[MAIN]))
            for other in against
        },
        seconds={} if seconds is None else seconds,
    )


def interval(value: Estimate) -> str:
    """Return a mean with its interval as tables show it."""
    return f"{value.mean:.3f} ({value.low:.3f}–{value.high:.3f})"


def gain(value: Difference) -> str:
    """Return a difference with its p-value as tables show it."""
    chance = "p < 0.001" if value.p < 0.001 else f"p = {value.p:.3f}"  # noqa: PLR2004 - resolution
    return f"{value.mean:+.3f} ({chance})"
