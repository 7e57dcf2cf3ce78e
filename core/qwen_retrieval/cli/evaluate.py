"""``qwen-retrieval evaluate``: what retrieval is worth on one's own data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from qwen_retrieval.catalog import DEFAULT_EMBEDDER, DEFAULT_RERANKER, RERANK_DEPTH
from qwen_retrieval.cli.bars import Bars
from qwen_retrieval.cli.choices import (
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
from qwen_retrieval.cli.output import console


def command(  # noqa: PLR0913 - each is an option of the command line
    data: Annotated[
        list[str],
        typer.Argument(
            help="Folders with corpus.jsonl, queries.jsonl and qrels.tsv or qrels/*.tsv; CSV or"
            " JSONL files of questions and answering passages; or names of mteb tasks."
        ),
    ],
    *,
    embedder: Annotated[
        str, typer.Option(help="Hub id or folder; none leaves it out.")
    ] = DEFAULT_EMBEDDER,
    reranker: Annotated[
        str, typer.Option(help="Hub id or folder; none leaves it out.")
    ] = DEFAULT_RERANKER,
    instruction: Annotated[
        str | None,
        typer.Option(help="A preset's name, or a sentence; for the queries of both stages."),
    ] = None,
    dimensions: Annotated[
        str | None, typer.Option(help="Widths to cut the vectors to, such as 1024,256.")
    ] = None,
    depth: Annotated[
        int, typer.Option(min=1, max=RERANK_DEPTH, help="Documents a query to rerank.")
    ] = RERANK_DEPTH,
    bm25: Annotated[bool, typer.Option(help="Rank by words as well.")] = True,
    queries: Queries = None,
    split: Split = None,
    language: Annotated[
        str | None, typer.Option(help="That BM25 splits words by, such as en; or plain.")
    ] = None,
    question_column: Column = None,
    passage_column: Column = None,
    ignore_identical_ids: IgnoreIdenticalIds = None,
    device: Device = None,
    embedder_option: EmbedderOptions = None,
    reranker_option: RerankerOptions = None,
    store: StoreFolder = None,
    out: Annotated[
        list[Path] | None, typer.Option(help="Write the report here, as .json or .md.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure BM25, embedding, and embedding with reranking on your own data.

    What is computed is kept, so a run that was broken off goes on where it was.
    """
    with extra("evaluation"):
        from qwen_retrieval.cli.tables import runs_table  # noqa: PLC0415 - an extra, and slow
        from qwen_retrieval.evaluation.data import read_collection  # noqa: PLC0415 - the same
        from qwen_retrieval.evaluation.files import check_writable  # noqa: PLC0415 - the same
        from qwen_retrieval.evaluation.flow import evaluate  # noqa: PLC0415 - the same
        from qwen_retrieval.evaluation.report import (  # noqa: PLC0415 - the same
            ENDINGS,
            save,
            to_json,
        )
    paths = [] if out is None else out
    for path in paths:
        check_writable(path, ENDINGS)
    chosen = embedder_settings(embedder, instruction, device, embedder_option or [])
    second = reranker_settings(reranker, instruction, device, reranker_option or [])
    cuts = numbers("dimensions", dimensions)
    kept = default_store() if store is None else store
    # All are read before the first is computed, which may take hours.
    collections = [
        read_collection(
            source,
            store=kept,
            split=split,
            question=question_column,
            passage=passage_column,
            ignore_identical_ids=ignore_identical_ids,
        )
        for source in data
    ]
    if queries is not None:
        collections = [each.sampled(queries) for each in collections]
    reports = []
    errors = Console(stderr=True)
    for collection in collections:
        with Bars(errors) as bars:
            report = evaluate(
                collection,
                embedder=chosen,
                reranker=second,
                dimensions=cuts,
                depth=depth,
                bm25=bm25,
                language=language,
                store=kept,
                progress=bars,
            )
        reports.append(report)
        if not as_json:
            console().print(runs_table(report))
    for path in paths:
        save(reports, path)
    if as_json:
        typer.echo(to_json(reports), nl=False)
