"""Plots what one query's candidates cost: against their number, and against the prompt's length.

``python tests/benchmarks/scaling.py`` writes ``scaling.png`` and ``scaling.json`` beside the
benchmark's other results, ours and sentence-transformers' in float32 over the same weights.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parent / "core")]

import matplotlib as mpl  # noqa: E402
from contenders import ours, sentence_transformers  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402
from shapes import SHAPES, checkpoint, work_folder  # noqa: E402
from workloads import Workload, workloads  # noqa: E402

ENGINES: dict[str, Callable[..., Any]] = {
    "ours": partial(ours, dtype="float32"),
    "sentence-transformers": partial(sentence_transformers, dtype="float32"),
}
CANDIDATES = (1, 5, 20, 60, 200)
PEERS_MOST = 60
"""Candidates that sentence-transformers is asked for at most; its line is straight by then."""
QUERY_WORDS = (8, 100, 300, 600)
BESIDE = 8
"""Candidates for each query length."""


def seconds(answer: Callable[[], Any], runs: int = 2) -> float:
    """Return the better of the runs."""
    best = float("inf")
    for _ in range(runs):
        started = time.perf_counter()
        answer()
        best = min(best, time.perf_counter() - started)
    return best


def measure(shape: str, console: Console) -> dict[str, dict[str, list[tuple[int, float]]]]:
    """Return seconds by engine, against candidates and against the query's words."""
    folder = checkpoint(shape, "reranker")
    (work,) = (each for each in workloads() if each.name == "R1")
    (mixed,) = (each for each in workloads() if each.name == "E3")
    texts = [document[:240] for document in mixed.documents if len(document) > 100]
    texts = (texts * 3)[: max(CANDIDATES)]
    query = work.pairs[0][0]
    words = " ".join(mixed.documents).split()
    found: dict[str, dict[str, list[tuple[int, float]]]] = {"candidates": {}, "query words": {}}
    for engine, opened in ENGINES.items():
        for count in CANDIDATES:
            if engine != "ours" and count > PEERS_MOST:
                continue
            pairs = [(query, f"{n} {text}") for n, text in enumerate(texts[:count])]
            taken = seconds(opened(folder, Workload("", "", pairs=pairs)))
            found["candidates"].setdefault(engine, []).append((count, taken))
            console.print(f"{engine}: {count} candidates, {taken:.2f} s", highlight=False)
        for length in QUERY_WORDS:
            pairs = [(" ".join(words[:length]), text) for text in texts[:BESIDE]]
            taken = seconds(opened(folder, Workload("", "", pairs=pairs)))
            found["query words"].setdefault(engine, []).append((length, taken))
            console.print(f"{engine}: query of {length} words, {taken:.2f} s", highlight=False)
    return found


def plot(found: dict[str, dict[str, list[tuple[int, float]]]], path: Path) -> None:
    """Write both curves as a picture."""
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    labels = ("candidates of one query", f"words of the query, {BESIDE} candidates")
    for axis, label, curves in zip(axes, labels, found.values(), strict=True):
        for engine, points in curves.items():
            axis.plot(*zip(*points, strict=True), marker="o", label=engine)
        axis.set(xlabel=label, ylabel="seconds", ylim=(0, None))
        axis.grid(alpha=0.3)
        axis.legend()
    figure.suptitle("Reranking, float32: the better of two runs")
    figure.savefig(path, dpi=130)


def main() -> None:
    """Measure, write, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", choices=list(SHAPES), default="0.6B")
    options = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else 120)
    found = measure(options.shape, console)
    (work_folder() / "scaling.json").write_text(json.dumps(found, indent=2))
    plot(found, work_folder() / "scaling.png")
    for what, curves in found.items():
        table = Table(what, *curves, title="seconds")
        for place, (count, _) in enumerate(curves["ours"]):
            row = [f"{c[place][1]:.2f}" if place < len(c) else "–" for c in curves.values()]
            table.add_row(str(count), *row)
        console.print(table)


if __name__ == "__main__":
    main()
