"""Measures the library beside its peers: same weights, same texts, one run.

``python tests/benchmarks/bench.py`` (or ``nox -s bench``) prints a table and writes JSON. Each cell
runs in a process of its own, up to three times, and is kept: a run that was broken off goes on
where it stopped; ``--fresh`` begins anew.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parent / "core")]
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402
from shapes import SHAPES, checkpoint, linear_parameters, work_folder  # noqa: E402
from workloads import Workload, workloads  # noqa: E402

from engines import ENGINES, LONG, REFERENCE  # noqa: E402

RUNS = 3
SPARE_SECONDS = 120
"""What the last cell may take beyond the minutes given."""
ENOUGH_SECONDS = 100
"""A cell that has taken longer is not run again; the table says how many runs there were."""


def measure(shape: str, work: Workload, engine: str, answers: Path) -> dict[str, Any]:
    """Return one cell: load, run; write the answers."""
    folder = checkpoint(shape, "reranker" if work.is_reranking else "embedding")
    started = time.perf_counter()
    answer = ENGINES[engine](folder, work)
    seconds: list[float] = []
    result = np.empty(0)
    loaded = time.perf_counter() - started
    while len(seconds) < RUNS and sum(seconds) < ENOUGH_SECONDS:
        started = time.perf_counter()
        result = np.asarray(answer(), np.float32)
        seconds.append(time.perf_counter() - started)
    np.save(answers, result)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"seconds": seconds, "loaded": loaded, "peak_bytes": peak}


def peak_gflops() -> float:
    """Return what float32 matrix products of the model's shape reach on this machine."""
    tokens, weight = torch.randn(512, 1024), torch.randn(3072, 1024)
    seconds = []
    for _ in range(30):
        started = time.perf_counter()
        torch.nn.functional.linear(tokens, weight)
        seconds.append(time.perf_counter() - started)
    return 2 * 512 * 1024 * 3072 / statistics.median(seconds) / 1e9


def counts(shape: str, work: Workload) -> tuple[int, int]:
    """Return the tokens of the prompts, and how many differ: what has to be computed at least."""
    import plain_forward
    from transformers import AutoTokenizer

    folder = checkpoint(shape, "reranker" if work.is_reranking else "embedding")
    tokenizer = AutoTokenizer.from_pretrained(str(folder))
    if work.is_reranking:
        texts = [plain_forward.format_instruction(None, q, d) for q, d in work.pairs]
        ids = plain_forward.process_inputs(tokenizer, texts, work.max_length)
    else:
        task = plain_forward.TASK
        texts = [plain_forward.get_detailed_instruct(task, q) for q in work.queries]
        ids = tokenizer(texts or work.documents, truncation=True, max_length=work.max_length)[
            "input_ids"
        ]
    ids.sort()
    shared = sum(_common(a, b) for a, b in pairwise(ids))
    total = sum(map(len, ids))
    return total, total - shared


def _common(left: list[int], right: list[int]) -> int:
    for place, (a, b) in enumerate(zip(left, right, strict=False)):
        if a != b:
            return place
    return min(len(left), len(right))


def environment() -> dict[str, Any]:
    """Return what the figures depend on."""
    names = ("torch", "transformers", "sentence-transformers", "qwen-retrieval")
    lines = Path("/proc/cpuinfo").read_text().splitlines() if sys.platform == "linux" else []
    model = next((line.split(":")[1].strip() for line in lines if "model name" in line), "")
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "python": platform.python_version(),
        "cpu": f"{model or platform.processor()}, {torch.get_num_threads()} threads,"
        f" {torch.backends.cpu.get_cpu_capability()}",
        "packages": {name: version(name) for name in names},
    }


def run(options: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Measure what is not at hand yet, and return everything."""
    folder = work_folder()
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / f"cells-{options.shape}{'-full' if options.full else ''}.json"
    found: dict[str, Any] = (
        {} if options.fresh or not kept.exists() else json.loads(kept.read_text())
    )
    found |= {"environment": environment()}
    found.setdefault("peak_gflops", peak_gflops())
    cells = found.setdefault("cells", {})
    ends = time.perf_counter() + 60 * options.minutes
    for work, engine in order(options):
        key = f"{work.name} {engine}"
        if key in cells:
            continue
        left = ends - time.perf_counter()
        if left < 0:
            console.print(f"{key}: no time left; the next run goes on here", highlight=False)
            continue
        console.print(f"{work.name} ({work.what}): {engine} …", highlight=False)
        cell = in_process(options, work, engine, left + SPARE_SECONDS)
        if cell is None:
            console.print("  took too long and was broken off", highlight=False)
            continue
        cells[key] = cell
        if f"{work.name} tokens" not in found:
            found[f"{work.name} tokens"] = counts(options.shape, work)
        kept.write_text(json.dumps(found, indent=2))
    return found


def order(options: argparse.Namespace) -> list[tuple[Workload, str]]:
    """Return the cells: every workload by ours and the reference first, side by side in time."""
    chosen = [
        work
        for work in workloads(full=options.full)
        if not options.only or work.name in options.only
    ]
    first = ("ours, float32", "ours, int8", REFERENCE)
    rest = [engine for engine in ENGINES if engine not in first]
    return [
        (work, engine)
        for engines in (first, rest)
        for work in chosen
        for engine in engines
        if work.name != "L" or engine in LONG
    ]


def in_process(
    options: argparse.Namespace, work: Workload, engine: str, seconds: float
) -> dict[str, Any] | None:
    """Return a cell measured in a process of its own, or None if it takes longer than this."""
    command = [sys.executable, __file__, "--shape", options.shape, "--cell", work.name, engine]
    try:
        done = subprocess.run(
            [*command, *(["--full"] if options.full else [])],
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds,
        )
    except subprocess.TimeoutExpired:
        return None
    if done.returncode:
        raise SystemExit(f"{work.name} by {engine} failed:\n{done.stderr[-3000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def answers_of(options: argparse.Namespace, work: str, engine: str) -> Path:
    """Return where a cell's answers lie."""
    safe = engine.replace(" ", "_").replace(",", "")
    return work_folder() / f"{options.shape}-{work}{'-full' if options.full else ''}-{safe}.npy"


def table(options: argparse.Namespace, found: dict[str, Any]) -> Table:
    """Return the cells as a table."""
    shown = Table(title=f"{options.shape} shape, random weights; {found['environment']['cpu']}")
    for name in ("", "engine", "s", "runs", "tokens/s", "unique/s", "of peak", "GiB", "÷ ours",
                 "largest difference"):  # fmt: skip
        shown.add_column(name, justify="left" if name in ("", "engine") else "right")
    flops = 2 * linear_parameters(options.shape)
    for work in workloads(full=options.full):
        ours = found["cells"].get(f"{work.name} ours, float32")
        for engine in ENGINES:
            cell = found["cells"].get(f"{work.name} {engine}")
            if cell is None:
                continue
            total, unique = found[f"{work.name} tokens"]
            seconds = statistics.median(cell["seconds"])
            reference = answers_of(options, work.name, REFERENCE)
            mine = answers_of(options, work.name, engine)
            difference = (
                f"{np.abs(np.load(mine) - np.load(reference)).max():.1e}"
                if mine.exists() and reference.exists()
                else "–"
            )
            ratio = seconds / statistics.median(ours["seconds"]) if ours else float("nan")
            shown.add_row(
                work.name, engine, f"{seconds:.2f}", str(len(cell["seconds"])),
                f"{total / seconds:.0f}", f"{unique / seconds:.0f}",
                f"{unique * flops / seconds / found['peak_gflops'] / 1e9:.0%}",
                f"{cell['peak_bytes'] / 2**30:.1f}", f"{ratio:.2f} ×", difference,
            )  # fmt: skip
        shown.add_section()
    return shown


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", choices=list(SHAPES), default="0.6B")
    parser.add_argument("--full", action="store_true", help="larger R3, E3 and L")
    parser.add_argument("--fresh", action="store_true", help="forget the cells of earlier runs")
    parser.add_argument("--minutes", type=float, default=38, help="begin no cell after these")
    parser.add_argument("--only", nargs="*", help="names of workloads; all by default")
    parser.add_argument("--cell", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.cell:
        name, engine = options.cell
        work = next(work for work in workloads(full=options.full) if work.name == name)
        cell = measure(options.shape, work, engine, answers_of(options, name, engine))
        sys.stdout.write("\n" + json.dumps(cell) + "\n")
        return
    console = Console(width=None if sys.stdout.isatty() else 150)
    for role in ("embedding", "reranker"):
        checkpoint(options.shape, role)
    found = run(options, console)
    console.print(table(options, found))
    console.print(
        f"Float32 products reach {found['peak_gflops']:.0f} GFLOP/s here. Differences are those to"
        f" {REFERENCE}: of vectors' components, and of logits.",
        highlight=False,
    )


if __name__ == "__main__":
    main()
