"""Print what BM25, the tiny embedder and the tiny reranker are worth on every collection at hand.

The collections are those of ``$QWEN_RETRIEVAL_MATERIAL/data`` and the standard library's judged
questions. ``--embedder`` and ``--reranker`` name other models. ``--int8`` also computes in 8-bit
integers and prints what that changes. It goes on where it was broken off.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

import numpy as np
from rich.console import Console

from qwen_retrieval import EmbedderSettings, RerankerSettings
from qwen_retrieval.cli.bars import Bars
from qwen_retrieval.evaluation import Report, evaluate, read_folder
from qwen_retrieval.evaluation.certainty import difference
from qwen_retrieval.evaluation.measures import MAIN
from qwen_retrieval.evaluation.report import gain, interval

ROOT = Path(__file__).parents[2]
TINY = ROOT / "tests" / "tiny"
STORE = ROOT / ".nox" / "quality"
KINDS = ("bm25", "embedding", "reranking")


def collections() -> list[Path]:
    """Return the folders of the collections; the judged questions' is written anew."""
    stdlib = STORE / "stdlib-questions"
    program = ROOT / "docs" / "examples" / "stdlib_collection.py"
    subprocess.run([sys.executable, str(program), str(stdlib)], check=True)
    material = os.environ.get("QWEN_RETRIEVAL_MATERIAL")
    if not material:
        sys.exit("QWEN_RETRIEVAL_MATERIAL is not set; its folder `data` holds the collections.")
    return [stdlib, *sorted(p.parent for p in Path(material, "data").glob("*/corpus.jsonl"))]


def markdown(reports: list[Report]) -> str:
    """Return the table, a collection a row."""
    head = ["collection", "documents", "queries", "BM25", "embedding", "+ reranking", "its gain"]
    rows = [head, ["---"] * len(head)]
    for report in reports:
        runs = {run.kind: run for run in report.runs}
        embedding = runs["embedding"].name
        rows.append(
            [
                report.collection,
                f"{report.documents:,}",
                f"{len(report.queries):,}",
                *(interval(runs[kind].estimates[MAIN]) for kind in KINDS),
                gain(runs["reranking"].differences[embedding]),
            ]
        )
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"


def changes(pairs: list[tuple[Report, Report]]) -> str:
    """Return what 8-bit integers change, a collection a row: float32's mean and the difference."""
    head = ["collection", "queries", "embedding", "in int8", "+ reranking", "in int8"]
    rows = [head, ["---"] * len(head)]
    for reports in pairs:
        wide, narrow = ({run.kind: run for run in report.runs} for report in reports)
        cells: list[str] = []
        for kind in ("embedding", "reranking"):
            values = [np.asarray(runs[kind].per_query[MAIN]) for runs in (narrow, wide)]
            change = difference(*values)
            cells.append(f"{wide[kind].estimates[MAIN].mean:.3f}")
            cells.append(f"{change.mean:+.4f} ({change.low:+.3f} to {change.high:+.3f})")
        rows.append([reports[0].collection, str(len(reports[0].queries)), *cells])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"


def main() -> None:
    """Read the options, evaluate, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--embedder", default=str(TINY / "embedder"))
    parser.add_argument("--reranker", default=str(TINY / "reranker"))
    parser.add_argument("--queries", type=int, default=100, help="asked of each collection")
    parser.add_argument("--depth", type=int, default=10, help="documents a query to rerank")
    parser.add_argument("--max-length", type=int, default=512, help="tokens a text is cut to")
    parser.add_argument("--int8", action="store_true", help="also in 8-bit integers")
    parser.add_argument("--only", nargs="*", help="names of collections; all by default")
    chosen = parser.parse_args()

    def report(folder: Path, precision: Literal["int8"] | None) -> Report:
        common: dict[str, Any] = {"precision": precision, "max_length": chosen.max_length}
        with Bars(Console(stderr=True)) as bars:
            return evaluate(
                read_folder(folder).sampled(chosen.queries),
                embedder=EmbedderSettings(model=chosen.embedder, **common),
                reranker=RerankerSettings(model=chosen.reranker, **common),
                depth=chosen.depth,
                store=STORE,
                progress=bars,
            )

    reports, pairs = [], []
    for folder in collections():
        if chosen.only and folder.name not in chosen.only:
            continue
        reports.append(report(folder, None))
        Console().print(markdown(reports[-1:]).splitlines()[-1], soft_wrap=True, markup=False)
        if chosen.int8:
            pairs.append((reports[-1], report(folder, "int8")))
            Console().print(changes(pairs[-1:]).splitlines()[-1], soft_wrap=True, markup=False)
    Console().print("\n" + markdown(reports), soft_wrap=True, markup=False)
    if pairs:
        Console().print("\n" + changes(pairs), soft_wrap=True, markup=False)


if __name__ == "__main__":
    main()
