"""``qwen-retrieval doctor``: is this server, or this model, set up to give right answers?"""

from __future__ import annotations

import sys
from importlib.resources import files
from typing import Annotated, Any, Literal, get_args

import typer
from rich.table import Table
from rich.text import Text

from qwen_retrieval.catalog import DEFAULT_EMBEDDER, DEFAULT_RERANKER, RELEASED
from qwen_retrieval.cli.output import console
from qwen_retrieval.doctor import Report, examine
from qwen_retrieval.files import load_json
from qwen_retrieval.settings import EmbedderSettings, RerankerSettings, Server

Kind = Literal["embedder", "reranker"]
_MARKS = {
    "pass": Text("✓ pass", "green"),
    "fail": Text("✗ FAIL", "bold red"),
    "skip": Text("– skip", "dim"),
}


def doctor(  # noqa: PLR0913 - each is an option of the command line
    model: Annotated[
        str | None,
        typer.Argument(
            help="Hub id or folder of the model; of one that a server has, its tokenizer is enough."
        ),
    ] = None,
    *,
    server: Annotated[
        str | None,
        typer.Option(help=f"Engine to examine: {', '.join(get_args(Server))}."),
    ] = None,
    base_url: Annotated[str | None, typer.Option(help="Address of the server.")] = None,
    served_model: Annotated[str | None, typer.Option(help="The model's name there.")] = None,
    kind: Annotated[
        str | None, typer.Option(help="embedder or reranker; else told from the model's files.")
    ] = None,
    local: Annotated[
        str | None,
        typer.Option(help="Folder or hub id of the same model, loaded here to compare with."),
    ] = None,
    timeout: Annotated[float, typer.Option(help="Seconds for one request.")] = 120.0,
    max_length: Annotated[int | None, typer.Option(help="Tokens of a sequence.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Leave out the speed.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    print_template: Annotated[
        bool,
        typer.Option("--print-template", help="Print the exact reranker template for a server."),
    ] = False,
) -> None:
    """Examine a running server, or a model in this process, and name what mends each fault.

    The key of a server is taken from QWEN_RETRIEVAL_API_KEY. Exit status 1 means something failed.
    """
    if print_template:
        sys.stdout.write(template())
        return
    chosen = _kind(kind, model)
    given: dict[str, Any] = {"max_length": max_length}
    if server is not None:
        given |= {
            "server": server, "base_url": base_url, "served_model": served_model,
            "timeout": timeout, "max_retries": 1,
        }  # fmt: skip
    settings: EmbedderSettings | RerankerSettings
    if chosen == "embedder":
        settings = EmbedderSettings(model=DEFAULT_EMBEDDER if model is None else model, **given)
    else:
        settings = RerankerSettings(model=DEFAULT_RERANKER if model is None else model, **given)
    report = examine(settings, local=local, quick=quick)
    if as_json:
        sys.stdout.write(report.to_json() + "\n")
    else:
        _print(report)
    if not report.ok:
        raise typer.Exit(1)


def template() -> str:
    """Return the chat template with which engines render the official reranker prompt."""
    found = files("qwen_retrieval.doctor").joinpath("qwen3_reranker.jinja")
    return found.read_text(encoding="utf-8")


def _kind(kind: str | None, model: str | None) -> Kind:
    if kind in get_args(Kind):
        return kind  # type: ignore[return-value] # one of its values, as just seen
    if kind is not None:
        raise typer.BadParameter("choose embedder or reranker", param_hint="--kind")
    if model is None:
        return "embedder"
    if model in RELEASED:
        return RELEASED[model].kind
    from pathlib import Path  # noqa: PLC0415 - only here

    modules = Path(model) / "modules.json"
    if modules.exists():
        poolings = [str(each.get("type", "")) for each in load_json(modules)]
        return "embedder" if any(name.endswith("Pooling") for name in poolings) else "reranker"
    return "reranker" if "rerank" in model.lower() else "embedder"


def _print(report: Report) -> None:
    table = Table(title=report.subject, caption=f"Compared with {report.compared_with}.")
    for name in ("check", "", "measured"):
        table.add_column(name, no_wrap=name != "measured")
    for each in report.findings:
        measured = Text(each.measured)
        if each.mend is not None:
            measured.append(f"\n→ {each.mend}", "bold")
        table.add_row(each.check, _MARKS[each.status], measured)
    out = console()
    out.print(table)
    failed = len(report.failed)
    words = "nothing failed" if report.ok else f"{failed} failed; the mend stands beside it"
    out.print(f"{len(report.findings)} checks: {words}.")
