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
FIRST, AGAIN = "ours, a new question", "ours, the question once more"
"""The beginning of a question is kept, so that its second call computes the candidates only."""
CANDIDATES = (1, 5, 20, 60, 200)
QUERY_WORDS = (8, 100, 300, 600)
BESIDE = 8
"""Candidates for each query length."""
ENOUGH_SECONDS = 20
"""After these a peer is not asked once more."""

Curves = dict[str, list[tuple[int, float]]]


def measure(shape: str, console: Console) -> dict[str, Curves]:
    """Return seconds by engine, against candidates and against the query's words."""
    folder = checkpoint(shape, "reranker")
    (work,) = (each for each in workloads() if each.name == "R1")
    (mixed,) = (each for each in workloads() if each.name == "E3")
    texts = [document[:240] for document in mixed.documents if len(document) > 100]
    texts = [f"{n} {text}" for n, text in enumerate((texts * 3)[: max(CANDIDATES)])]
    words = " ".join(mixed.documents).split()
    points = {
        "candidates": [(n, f"{n}: {work.pairs[0][0]}", texts[:n]) for n in CANDIDATES],
        "query words": [(n, " ".join([f"{n}:", *words[1:n]]), texts[:BESIDE]) for n in QUERY_WORDS],
    }
    found: dict[str, Curves] = {what: {} for what in points}
    for engine, opened in ENGINES.items():
        asked = Workload("", "", pairs=work.pairs[:1])
        answer = opened(folder, asked)
        answer()  # nothing is to be measured of what only the first call does
        for what, each in points.items():
            for count, query, documents in each:
                asked.pairs[:] = [(query, document) for document in documents]
                runs = seconds(answer, float("inf") if engine == "ours" else ENOUGH_SECONDS)
                named = zip((FIRST, AGAIN), runs, strict=False)
                for name, taken in named if engine == "ours" else [(engine, min(runs))]:
                    found[what].setdefault(name, []).append((count, taken))
                    console.print(f"{name}: {count} {what}, {taken:.2f} s", highlight=False)
    return found


def seconds(answer: Callable[[], Any], enough: float) -> list[float]:
    """Return what each of two runs takes, or the first alone if it takes so long."""
    found: list[float] = []
    while len(found) < 2 and sum(found) < enough:
        started = time.perf_counter()
        answer()
        found.append(time.perf_counter() - started)
    return found


def plot(found: dict[str, Curves], path: Path) -> None:
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
    figure.suptitle("Reranking, float32")
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
        for place, (count, _) in enumerate(curves[FIRST]):
            row = [f"{c[place][1]:.2f}" if place < len(c) else "–" for c in curves.values()]
            table.add_row(str(count), *row)
        console.print(table)


if __name__ == "__main__":
    main()
