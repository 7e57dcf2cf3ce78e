"""``qwen-retrieval instructions``: the published task instructions by name."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer
from rich.table import Table

from qwen_retrieval.cli.output import console
from qwen_retrieval.instructions import PRESETS, find_preset


def instructions(
    name: Annotated[str | None, typer.Argument(help="Print this one alone.")] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the published task instructions, whose names can stand for them."""
    presets = PRESETS
    if name is not None:
        preset = find_preset(name)
        presets = {} if preset is None else {name: preset}
    if as_json:
        text = json.dumps({each: asdict(preset) for each, preset in presets.items()}, indent=1)
        typer.echo(text)
        return
    if name is not None:
        for preset in presets.values():
            typer.echo(preset.query)
        return
    table = Table("name", "instruction of queries", "of documents")
    for each, preset in presets.items():
        table.add_row(each, preset.query, "the same" if preset.document else "")
    console().print(table)
