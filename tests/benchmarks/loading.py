"""Prints what loading takes: seconds, memory at its highest, and the first query beside later ones.

``python tests/benchmarks/loading.py`` (or ``nox -s bench -- loading``). Each loads in a process of
its own; memory is what the process had in use, imports left out.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parent / "core")]
os.environ.setdefault("HF_HUB_OFFLINE", "1")

from contenders import engines  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402
from served import served  # noqa: E402
from shapes import SHAPES, checkpoint, linear_parameters  # noqa: E402
from workloads import Workload, workloads  # noqa: E402

VOCABULARY = 151_669
LEFT_OUT = {"model card, float32", *served()}
"""What the model card loads, sentence-transformers does; servers load in a process of their own."""


def measure(shape: str, role: str, engine: str) -> dict[str, Any]:
    """Return seconds and bytes of one process that loads and then answers queries one by one."""
    import sentence_transformers  # noqa: F401 - the import is not what is measured
    from transformers import Qwen3ForCausalLM  # noqa: F401 - the same

    works = {work.name: work for work in workloads()}
    before = _memory("VmRSS")
    folder = checkpoint(shape, "reranker" if role == "reranker" else "embedding")
    if role == "reranker":
        works_left = [Workload("", "", pairs=[pair]) for pair in works["R1"].pairs[:6]]
    else:
        works_left = [Workload("", "", queries=[query]) for query in works["E1"].queries[:6]]
    # One workload for all queries: the answer is asked for what it holds at that moment.
    current = Workload("", "", pairs=works_left[0].pairs[:], queries=works_left[0].queries[:])
    started = time.perf_counter()
    answer = engines("cpu")[engine](folder, current)
    loaded = time.perf_counter() - started
    peak, after = _memory("VmHWM") - before, _memory("VmRSS") - before
    seconds = []
    for work in works_left:
        current.pairs[:], current.queries[:] = work.pairs, work.queries
        started = time.perf_counter()
        answer()
        seconds.append(time.perf_counter() - started)
    return {"loaded": loaded, "peak": peak, "after": after, "queries": seconds}


def _memory(name: str) -> int:
    """Return a figure of this process's memory, in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return 1024 * int(line.split()[1])
    raise SystemExit("this needs Linux, whose /proc/self/status says how much memory is in use")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", choices=list(SHAPES), default="0.6B")
    parser.add_argument("--cell", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.cell:
        sys.stdout.write("\n" + json.dumps(measure(options.shape, *options.cell)) + "\n")
        return
    weights = linear_parameters(options.shape) + VOCABULARY * SHAPES[options.shape]["hidden_size"]
    table = Table(
        title=f"{options.shape} shape: {4 * weights / 2**30:.2f} GiB in float32,"
        f" {2 * weights / 2**30:.2f} in bfloat16"
    )
    for name in ("", "loaded by", "s", "peak GiB", "after", "first query s", "later", "ratio"):
        table.add_column(name, justify="left" if name in ("", "loaded by") else "right")
    for role in ("embedder", "reranker"):
        for engine in (each for each in engines("cpu") if each not in LEFT_OUT):
            done = subprocess.run(
                [sys.executable, __file__, "--shape", options.shape, "--cell", role, engine],
                capture_output=True, text=True, check=True,
            )  # fmt: skip
            cell = json.loads(done.stdout.splitlines()[-1])
            first, later = cell["queries"][0], statistics.median(cell["queries"][1:])
            table.add_row(
                role, engine, f"{cell['loaded']:.1f}", f"{cell['peak'] / 2**30:.2f}",
                f"{cell['after'] / 2**30:.2f}", f"{first:.2f}", f"{later:.2f}",
                f"{first / later:.2f}",
            )  # fmt: skip
    Console(width=None if sys.stdout.isatty() else 120).print(table)


if __name__ == "__main__":
    main()
