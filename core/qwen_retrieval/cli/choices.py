"""Options that several commands share, and how they become settings."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from qwen_retrieval.errors import SettingsError
from qwen_retrieval.settings import EmbedderSettings, RerankerSettings

NONE = "none"
"""Stands for a stage that is left out."""

Queries = Annotated[int | None, typer.Option(min=1, help="Ask a sample of so many queries only.")]
Split = Annotated[str | None, typer.Option(help="Of the judgements; test if there are several.")]
Column = Annotated[str | None, typer.Option(help="Of a CSV or JSONL file; found by usual names.")]
IgnoreIdenticalIds = Annotated[
    bool | None,
    typer.Option(
        help="Whether a document with the query's own id is no hit; else as an mteb task says."
    ),
]
Device = Annotated[str | None, typer.Option(help="Such as cpu or cuda.")]
EmbedderOptions = Annotated[
    list[str] | None, typer.Option(help="Any field of EmbedderSettings as name=value.")
]
RerankerOptions = Annotated[
    list[str] | None, typer.Option(help="Any field of RerankerSettings as name=value.")
]
StoreFolder = Annotated[
    Path | None, typer.Option(help="Folder that keeps what is computed, for later runs.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def embedder_settings(
    model: str, instruction: str | None, device: str | None, options: Sequence[str]
) -> EmbedderSettings | None:
    """Return the settings of the embedder that options describe; None for "none"."""
    if model == NONE:
        return None
    given = {"model": model, "query_instruction": instruction, "device": device}
    return EmbedderSettings.from_dict({**_without_none(given), **_parsed(options)})


def reranker_settings(
    model: str, instruction: str | None, device: str | None, options: Sequence[str]
) -> RerankerSettings | None:
    """Return the settings of the reranker that options describe; None for "none"."""
    if model == NONE:
        return None
    given = {"model": model, "instruction": instruction, "device": device}
    return RerankerSettings.from_dict({**_without_none(given), **_parsed(options)})


@contextmanager
def extra(name: str) -> Iterator[None]:
    """Say which extra to install where a package that a command imports is missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"this command needs the package {error.name!r}: python -m pip install"
            f" 'qwen-retrieval[{name}]'"
        ) from error


def numbers(name: str, text: str | None) -> list[int]:
    """Return the numbers of a list such as "1024,256"; none of an option that was not given."""
    if text is None:
        return []
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise SettingsError(
            f"{name} is {text!r}; give whole numbers separated by commas, such as 256,64."
        ) from None


def default_store() -> Path:
    """Return where evaluations keep what they compute unless told otherwise."""
    cache = os.environ.get("XDG_CACHE_HOME")
    home = Path(cache) if cache else Path.home() / ".cache"
    return home / "qwen-retrieval" / "evaluation"


def _parsed(options: Sequence[str]) -> dict[str, Any]:
    """Return options of the form name=value; a value that is JSON is taken as such."""
    found = {}
    for option in options:
        name, sign, value = option.partition("=")
        if not sign:
            raise SettingsError(f"the option {option!r} has no '='; give name=value.")
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
    return found


def _without_none(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
