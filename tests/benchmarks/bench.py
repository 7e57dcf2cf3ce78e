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
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
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
from contenders import REFERENCE, engines, is_asked  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402
from served import served  # noqa: E402
from shapes import SHAPES, checkpoint, linear_parameters, work_folder  # noqa: E402
from workloads import Workload, workloads  # noqa: E402

RUNS = 3
SPARE_SECONDS = 120
"""What the last cell may take beyond the minutes given."""
ENOUGH_SECONDS = 100
"""A cell that has taken longer is not run again; the table says how many runs there were."""


def measure(shape: str, work: Workload, engine: str, answers: Path, device: str) -> dict[str, Any]:
    """Return one cell: load, run; write the answers."""
    folder = checkpoint(shape, "reranker" if work.is_reranking else "embedding")
    started = time.perf_counter()
    answer = engines(device)[engine](folder, work)
    seconds: list[float] = []
    result = np.empty(0)
    loaded = time.perf_counter() - started
    while len(seconds) < RUNS and sum(seconds) < ENOUGH_SECONDS:
        started = time.perf_counter()
        result = np.asarray(answer(), np.float32)
        seconds.append(time.perf_counter() - started)
    np.save(answers, result)
    peak: int | None
    if engine in served():
        peak = None  # that of another process
    elif device == "cpu":
        peak = _highest_memory()
    else:
        peak = torch.cuda.max_memory_allocated(device)
    # Beside the cell and not once for all: machines get faster and slower within the hour.
    return {"seconds": seconds, "loaded": loaded, "peak_bytes": peak, "gflops": peaks(device)}


def _highest_memory() -> int | None:
    """Return the most bytes that this process has had in memory; only Linux says so.

    What `resource` counts takes in the process that started this one.
    """
    if sys.platform != "linux":
        return None
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


def peaks(device: str) -> dict[str, float]:
    """Return what matrix products of the model's shape reach on this device, in GFLOP/s.

    In float32 on a CPU by the faster of torch's own and those of weights in 16 bits.
    """
    if device != "cpu":
        return {
            str(dtype).removeprefix("torch."): _gflops(8192, 4096, 12288, device, dtype)
            for dtype in (torch.bfloat16, torch.float32)
        }
    from qwen_retrieval.local.half import HalfLinear
    from qwen_retrieval.local.int8_product import PackedBytes, fastest_exact

    half, rows = HalfLinear(torch.randn(3072, 1024)), torch.randn(512, 1024)
    way, largest = fastest_exact()
    integers = PackedBytes(torch.full((3072, 1024), largest), torch.ones(3072), way)
    rounded = torch.randint(0, 256, (512, 1024), dtype=torch.uint8)
    flops = 2 * 512 * 1024 * 3072
    plain = _gflops(512, 1024, 3072, device, torch.float32)
    return {
        "float32": max(plain, flops / _median(lambda: half(rows)) / 1e9),
        "int8": flops / _median(lambda: integers.product(rounded)) / 1e9,
    }


def _gflops(rows: int, inner: int, columns: int, device: str, dtype: torch.dtype) -> float:
    left = torch.randn(rows, inner, device=device, dtype=dtype)
    right = torch.randn(columns, inner, device=device, dtype=dtype)

    def product() -> None:
        torch.nn.functional.linear(left, right)[0, 0].item()  # waits for the device

    return 2 * rows * inner * columns / _median(product) / 1e9


def _median(work: Callable[[], object]) -> float:
    seconds = []
    for _ in range(30):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def peak_of(cell: dict[str, Any], engine: str) -> float:
    """Return the peak that an engine is held against: that of its own number format."""
    known = cell["gflops"]
    format_ = "int8" if "Q8" in engine else next((name for name in known if name in engine), "")
    return float(known.get(format_, known.get("bfloat16", known["float32"])))


def counts(shape: str, work: Workload) -> tuple[int, int]:
    """Return the tokens of the prompts, and how many differ: what has to be computed at least."""
    from transformers import AutoTokenizer

    folder = checkpoint(shape, "reranker" if work.is_reranking else "embedding")
    ids = work.token_ids(AutoTokenizer.from_pretrained(str(folder)))
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
    kept = folder / f"cells-{kind(options)}.json"
    found: dict[str, Any] = (
        {} if options.fresh or not kept.exists() else json.loads(kept.read_text())
    )
    found |= {"environment": environment()}
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
    known = list(engines(options.device))
    last = ("sentence-transformers, default", "model card, float32")  # the slowest on most CPUs
    first = [each for each in known if options.device != "cpu" or each not in last]
    return [
        (work, engine)
        for part in (first, [each for each in known if each not in first])
        for work in chosen
        for engine in part
        if is_asked(engine, work) and (not options.engines or engine in options.engines)
    ]


def in_process(
    options: argparse.Namespace, work: Workload, engine: str, seconds: float
) -> dict[str, Any] | None:
    """Return a cell measured in a process of its own, or None if it takes longer than this."""
    command = [sys.executable, __file__, "--shape", options.shape, "--device", options.device,
               "--cell", work.name, engine]  # fmt: skip
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
    return work_folder() / f"{kind(options)}-{work}-{safe}.npy"


def kind(options: argparse.Namespace) -> str:
    """Return what tells one run's files from another's."""
    device = "" if options.device == "cpu" else f"-{options.device.replace(':', '')}"
    return f"{options.shape}{device}{'-full' if options.full else ''}"


def table(options: argparse.Namespace, found: dict[str, Any]) -> Table:
    """Return the cells as a table."""
    shown = Table(title=f"{options.shape} shape, random weights; {found['environment']['cpu']}")
    for name in ("", "engine", "s", "runs", "tokens/s", "unique/s", "of peak", "GiB", "÷ ours",
                 "largest difference"):  # fmt: skip
        shown.add_column(name, justify="left" if name in ("", "engine") else "right")
    flops = 2 * linear_parameters(options.shape)
    for work in workloads(full=options.full):
        names = list(engines(options.device))
        ours = found["cells"].get(f"{work.name} {names[0]}")
        for engine in names:
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
                f"{unique * flops / seconds / peak_of(cell, engine) / 1e9:.0%}",
                f"{cell['peak_bytes'] / 2**30:.1f}" if cell["peak_bytes"] else "–",
                f"{ratio:.2f} ×", difference,
            )  # fmt: skip
        shown.add_section()
    return shown


def markdown(options: argparse.Namespace, found: dict[str, Any]) -> str:
    """Return the seconds as the table that README.md holds."""
    names = [name for name in engines(options.device) if any(
        cell.endswith(f" {name}") for cell in found["cells"])]  # fmt: skip
    lines = ["| | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for work in workloads(full=options.full):
        cells = [found["cells"].get(f"{work.name} {name}") for name in names]
        if any(cells):
            seconds = [f"{statistics.median(c['seconds']):.1f}" if c else "–" for c in cells]
            lines.append(f"| {work.what} | " + " | ".join(seconds) + " |")
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", choices=list(SHAPES), default="0.6B")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1, …")
    parser.add_argument("--full", action="store_true", help="larger R3, E3 and L")
    parser.add_argument("--fresh", action="store_true", help="forget the cells of earlier runs")
    parser.add_argument("--minutes", type=float, default=38, help="begin no cell after these")
    parser.add_argument("--only", nargs="*", help="names of workloads; all by default")
    parser.add_argument("--engines", nargs="*", help="as the table names them; all by default")
    parser.add_argument("--cell", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.cell:
        name, engine = options.cell
        work = next(work for work in workloads(full=options.full) if work.name == name)
        answers = answers_of(options, name, engine)
        cell = measure(options.shape, work, engine, answers, options.device)
        sys.stdout.write("\n" + json.dumps(cell) + "\n")
        return
    console = Console(width=None if sys.stdout.isatty() else 150)
    for role in ("embedding", "reranker"):
        checkpoint(options.shape, role)
    found = run(options, console)
    console.print(table(options, found))
    cells = found["cells"].values()
    console.print(
        "Products reach (median of the cells) "
        + ", ".join(
            f"{statistics.median(cell['gflops'][name] for cell in cells):.0f} GFLOP/s in {name}"
            for name in next(iter(cells))["gflops"]
        )
        + f" here. Differences are those to {REFERENCE}: of vectors' components, and of logits.",
        highlight=False,
    )
    console.print("\nFor README.md:\n" + markdown(options, found), highlight=False, soft_wrap=True)


if __name__ == "__main__":
    main()
