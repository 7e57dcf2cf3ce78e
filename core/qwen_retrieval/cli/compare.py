"""``qwen-retrieval compare``: which dimensions, instruction, depth and precision to take."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from qwen_retrieval.catalog import DEFAULT_EMBEDDER
from qwen_retrieval.cli.bars import Bars
from qwen_retrieval.cli.choices import (
    NONE,
    AsJson,
    Column,
    Device,
    EmbedderOptions,
    IgnoreIdenticalIds,
    Queries,
    RerankerOptions,
    Split,
    StoreFolder,
    default_store,
    embedder_settings,
    extra,
    numbers,
    reranker_settings,
)
from qwen_retrieval.cli.output import WIDE, console, rows_table
from qwen_retrieval.errors import SettingsError

if TYPE_CHECKING:
    from qwen_retrieval.evaluation.comparison import Comparison
    from qwen_retrieval.evaluation.recommend import Recommendation

DEPTHS = "10,30,100"
ENDINGS = (".html", ".json", ".md")
"""Of files that a comparison is written to."""


def command(  # noqa: PLR0913 - each is an option of the command line
    data: Annotated[
        str,
        typer.Argument(
            help="A folder with corpus.jsonl, queries.jsonl and qrels.tsv or qrels/*.tsv; a CSV or"
            " JSONL file of questions and answering passages; or the name of an mteb task."
        ),
    ],
    *,
    embedder: Annotated[
        list[str] | None, typer.Option(help="Hub id or folder; give several to compare them.")
    ] = None,
    reranker: Annotated[
        list[str] | None, typer.Option(help="Hub id or folder; without one nothing is reranked.")
    ] = None,
    dimensions: Annotated[
        str | None, typer.Option(help="Widths such as 256,1024; else the full one and its halves.")
    ] = None,
    instruction: Annotated[
        list[str] | None,
        typer.Option(help="default, none, a preset's name, or a sentence; give several."),
    ] = None,
    precision: Annotated[
        str, typer.Option(help="Of stored vectors: float32, float16, int8, binary.")
    ] = "float32,int8,binary",
    depth: Annotated[
        str | None, typer.Option(help=f"Documents to rerank, such as 0,{DEPTHS}; 0 is none.")
    ] = None,
    max_bytes: Annotated[
        float | None, typer.Option(min=0, help="Budget: bytes a document in the index.")
    ] = None,
    max_tokens: Annotated[
        float | None, typer.Option(min=0, help="Budget: tokens a query, reranking included.")
    ] = None,
    max_seconds: Annotated[
        float | None, typer.Option(min=0, help="Budget: seconds a query, reranking included.")
    ] = None,
    tolerance: Annotated[
        float, typer.Option(min=0, help="Quality you would give up for a cheaper setting.")
    ] = 0.01,
    measure: Annotated[str, typer.Option(help="What settings are compared by.")] = "nDCG@10",
    between: Annotated[
        str | None,
        typer.Option(
            help="Numbers of two settings, such as 12,3, whose queries to set side by"
            " side; else the recommended one and what one would begin with."
        ),
    ] = None,
    queries: Queries = None,
    split: Split = None,
    question_column: Column = None,
    passage_column: Column = None,
    ignore_identical_ids: IgnoreIdenticalIds = None,
    device: Device = None,
    embedder_option: EmbedderOptions = None,
    reranker_option: RerankerOptions = None,
    seed: Annotated[int, typer.Option(help="Of the bootstrap.")] = 0,
    store: StoreFolder = None,
    out: Annotated[
        list[Path] | None, typer.Option(help="Write the report here, as .html, .md or .json.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Try every combination of settings on your own data, and recommend one for a budget.

    Each text is embedded once a model and instruction, then cut and quantised; each pair is
    reranked once. What is computed is kept, so a run that was broken off goes on where it was.
    """
    with extra("evaluation"):
        from qwen_retrieval.evaluation.compare import compare  # noqa: PLC0415 - an extra, and slow
        from qwen_retrieval.evaluation.comparison_text import to_json  # noqa: PLC0415 - the same
        from qwen_retrieval.evaluation.data import read_collection  # noqa: PLC0415 - the same
        from qwen_retrieval.evaluation.files import check_writable  # noqa: PLC0415 - the same
        from qwen_retrieval.evaluation.setting import Costs, Grid  # noqa: PLC0415 - the same
        from qwen_retrieval.evaluation.stages import Stages  # noqa: PLC0415 - the same
        from qwen_retrieval.evaluation.store import Store  # noqa: PLC0415 - the same
    for path in out or []:
        check_writable(path, ENDINGS)
    named = [embedder_settings(name, None, device, embedder_option or [])
             for name in embedder or [DEFAULT_EMBEDDER]]  # fmt: skip
    reranking = [reranker_settings(name, None, device, reranker_option or [])
                 for name in reranker or [NONE]]  # fmt: skip
    embedders = [each for each in named if each is not None]
    rerankers = [each for each in reranking if each is not None]
    chosen = None if between is None else _two(between)
    depths = (f"0,{DEPTHS}" if rerankers else "0") if depth is None else depth
    precisions: Any = tuple(precision.split(","))  # the grid refuses others
    grid = Grid(
        dimensions=tuple(numbers("dimensions", dimensions)) or None,
        instructions=tuple(instruction or ["default", "none"]),
        precisions=precisions,
        depths=tuple(numbers("depth", depths)),
    )
    budget = Costs(
        bytes_per_document=max_bytes, tokens_per_query=max_tokens, seconds_per_query=max_seconds
    )
    kept = default_store() if store is None else store
    collection = read_collection(
        data,
        store=kept,
        split=split,
        question=question_column,
        passage=passage_column,
        ignore_identical_ids=ignore_identical_ids,
    )
    if queries is not None:
        collection = collection.sampled(queries)
    with Bars(Console(stderr=True)) as bars:
        stages = Stages(collection, Store(kept), progress=bars)
        found = compare(stages, embedders, rerankers, grid, main_measure=measure, seed=seed)
    recommendation = found.recommend(budget, tolerance)
    pair = None if chosen is None else _pair(chosen, len(found.settings))
    for path in out or []:
        _save(path, found, recommendation, pair)
    if as_json:
        typer.echo(to_json(found, recommendation), nl=False)
    else:
        _show(found, recommendation)


def _show(found: Comparison, recommendation: Recommendation) -> None:
    from qwen_retrieval.evaluation.comparison_text import (  # noqa: PLC0415 - an extra
        advice,
        setting_rows,
        work_rows,
    )

    out = console()
    rows = setting_rows(found, front_only=True, narrow=out.width < WIDE)
    title = f"{found.collection.name}: the Pareto front of {len(found.settings)} settings"
    out.print(rows_table(title, rows))
    out.print(rows_table("What was computed", work_rows(found.work)))
    for sentence in advice(found, recommendation):
        out.print(escape(sentence), highlight=False)


def _save(
    path: Path, found: Comparison, recommendation: Recommendation, pair: tuple[int, int] | None
) -> None:
    from qwen_retrieval.evaluation.comparison_text import (  # noqa: PLC0415 - an extra
        to_json,
        to_markdown,
    )
    from qwen_retrieval.evaluation.files import write_whole  # noqa: PLC0415 - the same
    from qwen_retrieval.evaluation.page import to_html  # noqa: PLC0415 - the same

    match path.suffix.lower():
        case ".html":
            write_whole(path, to_html(found, recommendation, *(pair or (None, None))))
        case ".md":
            write_whole(path, to_markdown(found, recommendation))
        case _:
            write_whole(path, to_json(found, recommendation))


def _two(text: str) -> tuple[int, int]:
    """Return the numbers of two settings, which begin with 1."""
    found = numbers("between", text)
    if len(found) != 2 or min(found) < 1:  # noqa: PLR2004 - a pair
        raise SettingsError(
            f"between is {text!r}; give the numbers of two settings, from 1 up, such as 12,3."
        )
    return found[0], found[1]


def _pair(chosen: tuple[int, int], settings: int) -> tuple[int, int]:
    """Return the places of two settings that were given by their numbers."""
    if max(chosen) > settings:
        raise SettingsError(
            f"between is '{chosen[0]},{chosen[1]}'; give the numbers of two settings, from 1 to"
            f" {settings}, such as 12,3."
        )
    return chosen[0] - 1, chosen[1] - 1
