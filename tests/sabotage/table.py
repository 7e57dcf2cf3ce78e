"""Prints what each wiring fault costs and which test catches it.

``python tests/sabotage/table.py`` measures with the two tiny models and then runs, under each
fault, the test that has to catch it. It ends with status 1 if a fault goes uncaught, or shows less
than it should.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import warnings
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import quality
from faults import FAULTS, Fault, Stage, by_name
from rich.console import Console
from rich.progress import track
from rich.table import Table

CATCH = Path(__file__).with_name("catch.py")
LEAST_FALL = 0.03
LEAST_ERROR = 1e-4
"""Ten times what parity allows."""


def instructed(fault: Fault) -> bool:
    """Say whether the instruction is what the fault touches."""
    return fault.name in {"no-instruction", "instruction-on-documents"}


@cache
def right_quality(stage: Stage, *, instructed: bool) -> float:
    """Return nDCG@10 without any fault."""
    return quality_now(stage, instructed=instructed)


def quality_now(stage: Stage, *, instructed: bool) -> float:
    """Return nDCG@10 on the collection where it matters, as the library stands now."""
    if stage == "reranker":
        return quality.reranking_quality()
    return quality.embedding_quality(quality.code() if instructed else quality.judged())


@cache
def right_results(stage: Stage) -> np.ndarray:
    """Return vectors or scores without any fault."""
    return results_now(stage)


def results_now(stage: Stage) -> np.ndarray:
    """Return vectors or scores, as the library stands now."""
    return quality.reranking_probe() if stage == "reranker" else quality.embedding_probe()


def qualities(fault: Fault) -> tuple[float, float]:
    """Return nDCG@10 without the fault and with it."""
    quality.candidates()  # by the unharmed embedder, before the fault
    right = right_quality(fault.stage, instructed=instructed(fault))
    with fault.applied():
        return right, quality_now(fault.stage, instructed=instructed(fault))


def largest_error(fault: Fault) -> float:
    """Return how far the fault takes a vector's number or a score from the right one."""
    expected = right_results(fault.stage)
    with fault.applied():
        return float(np.abs(results_now(fault.stage) - expected).max())


def caught(faults: Sequence[Fault]) -> dict[str, str | None]:
    """Return the test that failed under each fault, by the fault's name; None where none did."""
    done = subprocess.run(
        [sys.executable, str(CATCH), *(fault.name for fault in faults)],
        cwd=CATCH.parents[2],
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"the tests did not run:\n{done.stderr[-4000:]}")
    return dict(map(json.loads, done.stdout.splitlines()))


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", help="names of faults; all by default")
    parser.add_argument("--no-tests", action="store_true", help="measure only, run no tests")
    options = parser.parse_args()
    faults = [by_name(name) for name in options.only] if options.only else list(FAULTS)
    warnings.simplefilter("ignore")  # documents are cut on purpose, for speed
    console = Console(width=None if sys.stdout.isatty() else 200)
    progress = Console(stderr=True)
    tests = dict.fromkeys((each.name for each in faults), "not run")
    found = tests if options.no_tests else caught(faults)
    table = Table(title="What each wiring fault costs, and the test that catches it")
    for heading in (
        "fault", "stage", "nDCG@10 right", "wrong", "fall", "largest error", "caught by",
    ):  # fmt: skip
        table.add_column(heading, overflow="fold")
    bad = []
    for fault in track(faults, "faults", console=progress):
        (right, wrong), error, test = qualities(fault), largest_error(fault), found[fault.name]
        falls = right - wrong >= LEAST_FALL
        if test is None or not (falls if fault.shows == "nDCG@10" else error >= LEAST_ERROR):
            bad.append(fault.name)
        table.add_row(
            fault.what, fault.stage, f"{right:.3f}", f"{wrong:.3f}",
            f"{right - wrong:+.3f}", f"{error:.1e}",
            "NO TEST" if test is None else test.removeprefix("tests/contract/"),
            style="bold red" if fault.name in bad else None,
        )  # fmt: skip
    console.print(table)
    console.print(
        f"{len(faults) - len(bad)} of {len(faults)} faults show as they should"
        + ("" if options.no_tests else " and are caught")
        + (f"; not so: {', '.join(bad)}" if bad else "")
    )
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
