"""Prints how long one query waits while eight threads embed documents with the same model.

``python tests/benchmarks/latency.py``: the turnstile before a model serves in the order of arrival,
batch by batch, and lets short calls pass, so that a query waits for the batch under way.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import threading
import time
import warnings
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parent / "core")]

from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402
from shapes import SHAPES, checkpoint  # noqa: E402
from workloads import workloads  # noqa: E402

from qwen_retrieval import EmbedderSettings, open_embedder  # noqa: E402
from qwen_retrieval.errors import TruncationWarning  # noqa: E402
from qwen_retrieval.local.embedder import LocalEmbedder  # noqa: E402

THREADS = 8
QUERIES = 5


def main() -> None:
    """Measure a query alone, a batch alone, and the query beside the threads."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", choices=list(SHAPES), default="0.6B")
    options = parser.parse_args()
    warnings.simplefilter("ignore", TruncationWarning)  # the texts are to fill a batch exactly
    folder = checkpoint(options.shape, "embedding")
    works = {work.name: work for work in workloads()}
    documents, questions = works["E2"].documents, works["E1"].queries
    settings = EmbedderSettings(model=str(folder), dtype="float32", max_length=256)
    embedder = open_embedder(settings)
    assert isinstance(embedder, LocalEmbedder)
    embedder.embed_queries(questions[:1])
    alone = [
        _seconds(lambda n=n: embedder.embed_queries([questions[n]])) for n in range(1, QUERIES)
    ]
    batch = _seconds(lambda: embedder.embed_documents(documents[:4]))  # one of 1,024 tokens
    stop = threading.Event()

    def busy(number: int) -> None:
        while not stop.is_set():
            embedder.embed_documents([f"{number} {text}" for text in documents[:4]])

    threads = [threading.Thread(target=busy, args=(n,)) for n in range(THREADS)]
    for thread in threads:
        thread.start()
    time.sleep(2 * batch)
    beside = [
        _seconds(lambda n=n: embedder.embed_queries([questions[-n]])) for n in range(1, QUERIES + 1)
    ]
    stop.set()
    for thread in threads:  # the interpreter may not end while they compute
        thread.join()
    table = Table("", "seconds", "batches", title=f"{options.shape}, {THREADS} threads embedding")
    for name, value in {
        "a batch of four documents, alone": batch,
        "a query, alone (median)": statistics.median(alone),
        "a query beside the threads (median)": statistics.median(beside),
        "a query beside the threads (longest)": max(beside),
    }.items():
        table.add_row(name, f"{value:.2f}", f"{value / batch:.1f}")
    Console(width=None if sys.stdout.isatty() else 120).print(table)


def _seconds(work: object) -> float:
    started = time.perf_counter()
    work()  # type: ignore[operator]
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
