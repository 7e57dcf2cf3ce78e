"""Prints where our time goes: products, attention, the rest, and what is not computing at all.

``python tests/benchmarks/shares.py`` (or ``nox -s bench -- shares``), float32 and int8, over the
workloads R1, R2 and E2 of the benchmark; torch's own profiler counts.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parent / "core")]
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch  # noqa: E402
from contenders import OURS, engines  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402
from shapes import SHAPES, checkpoint  # noqa: E402
from workloads import workloads  # noqa: E402

PARTS = {
    "matrix products": ("aten::mm", "aten::addmm", "onednn::", "quantized::", "aten::linear"),
    "attention": ("aten::_scaled_dot_product", "aten::scaled_dot_product", "aten::baddbmm",
                  "aten::bmm", "aten::_softmax"),
    "to bytes and back": ("aten::abs", "aten::amax", "aten::div", "aten::round", "aten::index_fill",
                          "aten::to", "aten::_to_copy", "aten::clamp"),
    "copies": ("aten::copy_", "aten::cat", "aten::clone", "aten::contiguous", "aten::index"),
}  # fmt: skip
"""Names of torch's operators; whatever else it runs is "other operators"."""


def part_of(operator: str) -> str:
    """Return the part that an operator belongs to."""
    return next(
        (part for part, names in PARTS.items() if operator.startswith(names)), "other operators"
    )


def main() -> None:
    """Profile and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", choices=list(SHAPES), default="0.6B")
    parser.add_argument("--only", nargs="*", default=["R1", "R2", "E2"])
    options = parser.parse_args()
    columns = [*PARTS, "other operators", "outside torch"]
    table = Table("", "engine", "s", *columns, title=f"{options.shape} shape: share of the time")
    for work in (each for each in workloads() if each.name in options.only):
        for engine in (OURS, "ours, int8"):
            role = "reranker" if work.is_reranking else "embedding"
            answer = engines("cpu")[engine](checkpoint(options.shape, role), work)
            answer()
            started = time.perf_counter()
            with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as seen:
                answer()
            seconds = time.perf_counter() - started
            shares: Counter[str] = Counter()
            for event in seen.key_averages():
                shares[part_of(event.key)] += event.self_cpu_time_total / 1e6
            shares["outside torch"] = max(0.0, seconds - sum(shares.values()))
            table.add_row(
                work.name, engine, f"{seconds:.1f}",
                *(f"{shares[column] / seconds:.0%}" for column in columns),
            )  # fmt: skip
    Console(width=None if sys.stdout.isatty() else 150).print(table)


if __name__ == "__main__":
    main()
