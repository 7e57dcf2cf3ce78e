"""Prints what each wiring fault costs and which test catches it.

``python tests/sabotage/table.py`` measures with the two tiny models and then runs the contract
suite once for each fault, until the first test fails. It ends with status 1 if a fault goes
uncaught, or shows less than it should.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import warnings
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import quality
from faults import FAULTS, Fault, Stage, by_name
from rich.console import Console
from rich.progress import track
from rich.table import Table

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
LEAST_FALL = 0.03
LEAST_ERROR = 1e-4
"""Ten times what parity allows."""
SUITES = ("tests/contract", "tests/core/test_parity.py")


@dataclass(frozen=True)
class Row:
    """A fault's cost and the test that caught it; None where no test did."""

    fault: Fault
    right: float
    wrong: float
    error: float
    caught_by: str | None

    @property
    def shown(self) -> bool:
        """Whether it shows as it should."""
        if self.fault.shows == "nDCG@10":
            return self.right - self.wrong >= LEAST_FALL
        return self.error >= LEAST_ERROR


def instructed(fault: Fault) -> bool:
    """Say whether the instruction is what the fault touches."""
    return fault.name in {"no-instruction", "instruction-on-documents"}


def quality_of(stage: Stage, *, instructed: bool) -> float:
    """Return nDCG@10 on the collection where it matters, as the library stands now."""
    if stage == "reranker":
        return quality.reranking_quality()
    return quality.embedding_quality(quality.code() if instructed else quality.judged())


def probe_of(stage: Stage) -> np.ndarray:
    """Return vectors or scores, as the library stands now."""
    return quality.reranking_probe() if stage == "reranker" else quality.embedding_probe()


@cache
def unharmed(stage: Stage, *, instructed: bool) -> tuple[float, np.ndarray]:
    """Return both without any fault."""
    return quality_of(stage, instructed=instructed), probe_of(stage)


def caught_by(fault: Fault) -> str | None:
    """Return the first test that fails with the fault applied."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-x", "-q", "-p", "fault_plugin", "-k", "core or parity",
         "-p", "no:cacheprovider", "--no-header", *SUITES],
        cwd=ROOT,
        env={**os.environ, "QWEN_RETRIEVAL_FAULT": fault.name,
             "PYTHONPATH": f"{HERE}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"},
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    if done.returncode not in (0, 1):
        raise RuntimeError(f"the tests did not run under {fault.name}:\n{done.stdout[-2000:]}")
    failed = re.search(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.MULTILINE)
    return None if failed is None else failed.group(1)


def measure(fault: Fault, *, tests: bool) -> Row:
    """Return the row of one fault."""
    quality.candidates()  # by the unharmed embedder, before the fault
    right, expected = unharmed(fault.stage, instructed=instructed(fault))
    with fault.applied():
        wrong, found = quality_of(fault.stage, instructed=instructed(fault)), probe_of(fault.stage)
    error = float(np.abs(found - expected).max())
    return Row(fault, right, wrong, error, caught_by(fault) if tests else "not run")


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", help="names of faults; all by default")
    parser.add_argument("--no-tests", action="store_true", help="measure only, run no tests")
    options = parser.parse_args()
    faults = [by_name(name) for name in options.only] if options.only else FAULTS
    warnings.simplefilter("ignore")  # documents are cut on purpose, for speed
    console = Console(width=None if sys.stdout.isatty() else 150)
    progress = Console(stderr=True)
    rows = [
        measure(fault, tests=not options.no_tests)
        for fault in track(faults, "faults", console=progress)
    ]
    table = Table(title="What each wiring fault costs, and the test that catches it")
    for heading in (
        "fault",
        "stage",
        "nDCG@10 right",
        "wrong",
        "fall",
        "largest error",
        "caught by",
    ):
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(
            row.fault.what, row.fault.stage, f"{row.right:.3f}", f"{row.wrong:.3f}",
            f"{row.right - row.wrong:+.3f}", f"{row.error:.1e}",
            row.caught_by or "NO TEST", style=None if row.shown and row.caught_by else "bold red",
        )  # fmt: skip
    console.print(table)
    bad = [row.fault.name for row in rows if not (row.shown and row.caught_by)]
    console.print(
        f"{len(rows) - len(bad)} of {len(rows)} faults show as they should"
        + ("" if options.no_tests else " and are caught")
        + (f"; not so: {', '.join(bad)}" if bad else "")
    )
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
