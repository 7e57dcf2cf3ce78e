"""Runs only where QWEN_RETRIEVAL_ENGINE names an engine, as the session `engines` does."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

# Importlib mode puts no folder on the path.
sys.path[:0] = [str(Path(__file__).resolve().parents[1])]
os.environ["HF_HUB_OFFLINE"] = "1"

from engines.starting import LAUNCHES, running  # noqa: E402 - found through the line above

Serve = Callable[..., AbstractContextManager[str]]
Record = Callable[[str, str], None]

ENGINE = os.environ.get("QWEN_RETRIEVAL_ENGINE")
if ENGINE is None:
    collect_ignore_glob = ["test_*.py"]

_MEASURED: list[str] = []


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print what was measured."""
    for line in _MEASURED:
        terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def engine() -> str:
    """The engine's name, as in the settings."""
    assert ENGINE is not None
    return ENGINE


@pytest.fixture(scope="session")
def record(engine: str) -> Record:
    """Keep a measured value for the end of the run."""

    def keep(what: str, value: str) -> None:
        _MEASURED.append(f"{engine}: {what}: {value}")

    return keep


@pytest.fixture(scope="session")
def serve(engine: str, tmp_path_factory: pytest.TempPathFactory) -> Serve:
    """Runs the engine with a tiny model while a block lasts, and gives its address."""

    def serving(kind: str, *options: str, **more: Any) -> AbstractContextManager[str]:
        log = tmp_path_factory.mktemp(engine) / f"{kind}.log"
        return running(LAUNCHES[engine](kind, *options, **more), log)

    return serving
