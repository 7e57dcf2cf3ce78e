"""Reports as tables of the terminal."""

from __future__ import annotations

from rich.table import Table

from qwen_retrieval.evaluation.measures import MAIN, MEASURES
from qwen_retrieval.evaluation.report import Report, gain, interval


def runs_table(report: Report) -> Table:
    """Return the runs as a table for the terminal."""
    made = Table(title=f"{report.collection}: {report.summary()}", title_justify="left")
    made.add_column("run", overflow="fold")
    for name in MEASURES:
        made.add_column(name, no_wrap=True)
    made.add_column(f"{MAIN} minus")
    for run in report.runs:
        cells = [
            interval(each) if name == MAIN else f"{each.mean:.3f}"
            for name, each in run.estimates.items()
        ]
        against = "\n".join(f"{name}: {gain(each)}" for name, each in run.differences.items())
        made.add_row(run.name, *cells, against)
    return made
