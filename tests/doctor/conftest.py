"""The doctor against servers on loopback, set up rightly and wrongly."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

# Importlib mode puts no folder on the path.
sys.path[:0] = [str(Path(__file__).resolve().parents[1])]
os.environ["HF_HUB_OFFLINE"] = "1"

from qwen_retrieval import EmbedderSettings, RerankerSettings  # noqa: E402 - the same
from qwen_retrieval.doctor import Report, examine  # noqa: E402 - the same
from servers.fault_server import FaultServer  # noqa: E402 - found through the line above

TINY = Path(__file__).resolve().parents[1] / "tiny"
Examined = Callable[..., Report]


def settings_for(kind: str, engine: str, url: str) -> EmbedderSettings | RerankerSettings:
    """Return settings of a client that believes the server to be right."""
    made = EmbedderSettings if kind == "embedder" else RerankerSettings
    return made(model=str(TINY / kind), server=engine, base_url=url, timeout=30, max_retries=0)  # type: ignore[return-value, arg-type]


@pytest.fixture
def examined() -> Examined:
    """Examine an engine started with these options: ``examined("vllm", "embedder", end=False)``."""

    def run(engine: str, kind: str, *, local: bool = False, **setup: Any) -> Report:
        setup = {"serves": kind, "max_length": 512, **setup}
        with FaultServer(engine, **setup) as server:
            return examine(
                settings_for(kind, engine, server.url),
                local=str(TINY / kind) if local else None,
                quick=True,
            )

    return run
