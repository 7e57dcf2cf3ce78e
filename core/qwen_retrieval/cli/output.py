"""Standard output: how wide it is, and rows as a table on it."""

from __future__ import annotations

import os
from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

PIPED = 200
"""Columns where nobody watches: what reads a pipe does not wrap, so nothing is to be cut."""
WIDE = 130
"""Columns that a table of settings takes with each part of a setting in a column of its own."""


def console() -> Console:
    """Return the console of standard output, wide where that is no terminal."""
    made = Console()
    return made if made.is_terminal or "COLUMNS" in os.environ else Console(width=PIPED)


def rows_table(title: str, rows: Sequence[Sequence[str]]) -> Table:
    """Return rows, their head first, as a table."""
    made = Table(title=escape(title), title_justify="left")
    for name in rows[0]:
        made.add_column(escape(name), overflow="fold")
    for row in rows[1:]:
        made.add_row(*map(escape, row))
    return made
