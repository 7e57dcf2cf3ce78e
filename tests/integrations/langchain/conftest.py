"""What the tests of the LangChain package share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from qwen_retrieval.testing import doubles

TINY = Path(__file__).resolve().parents[2] / "tiny"


@pytest.fixture
def doubled() -> Iterator[None]:
    """Let every adapter open a double instead of a model."""
    with doubles():
        yield


@pytest.fixture(scope="session")
def tiny_embedder() -> str:
    """Return the folder of the small trained embedder."""
    return str(TINY / "embedder")


@pytest.fixture(scope="session")
def tiny_reranker() -> str:
    """Return the folder of the small trained reranker."""
    return str(TINY / "reranker")
