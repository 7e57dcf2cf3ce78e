"""Runs the tests that have to catch faults: without any they pass, under its own each one fails.

``python tests/sabotage/catch.py`` prints a line of JSON for each fault: its name and the id of the
first test that failed, null if none did. All runs share one process, since loading the libraries
takes longer than the tests.
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path

import pytest
from faults import FAULTS, by_name

ROOT = Path(__file__).resolve().parents[2]


class FirstFailure:
    """A pytest plugin that remembers the first test whose own code failed."""

    def __init__(self) -> None:
        self.test: str | None = None

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take a failed call; a fixture that fails shows nothing."""
        if report.failed and report.when == "call" and self.test is None:
            self.test = report.nodeid


def first_failure(tests: Sequence[str]) -> str | None:
    """Return the first of the core's tests among these that fails, or None.

    Raises:
        RuntimeError: they could not be run.
    """
    failure, output = FirstFailure(), io.StringIO()
    with redirect_stdout(output):
        status = pytest.main(
            # The last plugin collects garbage for half of the time that a run takes.
            ["--exitfirst", "--quiet", "-k", "core", "-p", "no:cacheprovider",
             "-p", "no:unraisableexception",
             # This is not the first run of pytest in the process.
             "-W", "ignore::pytest.PytestAssertRewriteWarning",
             *(str(ROOT / test) for test in tests)],
            plugins=[failure],
        )  # fmt: skip
    if (status, failure.test is None) in {(0, True), (1, False)}:
        return failure.test
    raise RuntimeError(f"these tests did not run: {tests}\n{output.getvalue()[-4000:]}")


def main(names: Sequence[str]) -> None:
    """Print what catches each of these faults."""
    faults = [by_name(name) for name in names] if names else FAULTS
    failing = first_failure([fault.test for fault in faults])
    if failing is not None:
        raise RuntimeError(f"{failing} fails without any fault")
    for fault in faults:
        with fault.applied():
            found = first_failure([fault.test])
        sys.stdout.write(json.dumps([fault.name, found]) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
