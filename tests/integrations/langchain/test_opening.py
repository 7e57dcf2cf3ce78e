"""Nothing is loaded before it is needed, and then once."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from langchain_qwen_retrieval import QwenCrossEncoder, QwenEmbeddings, QwenReranker
from qwen_retrieval.testing import FakeEmbedder


def run_python(code: str) -> str:
    """Return what a fresh interpreter prints."""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300
    )
    return done.stdout


def test_importing_and_constructing_load_neither_torch_nor_a_model() -> None:
    """Only the first call does."""
    code = """
import sys
from langchain_qwen_retrieval import QwenCrossEncoder, QwenEmbeddings, QwenReranker
made = QwenEmbeddings(), QwenReranker(), QwenCrossEncoder()
repr(made), made[0].cache_namespace, made[0].settings
print([name for name in ("torch", "transformers", "sentence_transformers") if name in sys.modules])
"""
    assert run_python(code) == "[]\n"


def test_a_missing_framework_is_named_with_the_command_that_brings_it() -> None:
    """The ImportError of the package says what to install."""
    code = """
import sys
sys.modules["langchain_core"] = None
try:
    import langchain_qwen_retrieval
except ImportError as error:
    print(error)
"""
    assert "pip install 'qwen-retrieval[langchain]'" in run_python(code)


def test_a_module_that_the_framework_lacks_is_not_blamed_on_it() -> None:
    """A broken installation of LangChain shows its own error."""
    code = """
import sys
class Broken:
    def find_spec(self, name, path=None, target=None):
        if name == "langchain_core":
            raise ModuleNotFoundError("No module named 'yaml'", name="yaml")
sys.meta_path.insert(0, Broken())
try:
    import langchain_qwen_retrieval
except ImportError as error:
    print(error)
"""
    assert run_python(code) == "No module named 'yaml'\n"


def test_threads_open_one_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many first calls at once share one opening."""
    opened = []

    def slow(settings: Any, **_: Any) -> FakeEmbedder:
        time.sleep(0.05)
        opened.append(FakeEmbedder(settings))
        return opened[-1]

    monkeypatch.setattr("langchain_qwen_retrieval.embeddings.open_embedder", slow)
    embeddings = QwenEmbeddings()
    with ThreadPoolExecutor(8) as pool:
        vectors = list(pool.map(embeddings.embed_query, ["a"] * 8))
    assert len(opened) == 1
    assert vectors == [vectors[0]] * 8


async def test_opening_does_not_hold_up_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first asynchronous call opens the model in a thread."""

    def slow(settings: Any, **_: Any) -> FakeEmbedder:
        time.sleep(0.5)
        return FakeEmbedder(settings)

    monkeypatch.setattr("langchain_qwen_retrieval.embeddings.open_embedder", slow)
    call = asyncio.create_task(QwenEmbeddings().aembed_query("a"))
    turns = 0
    while not call.done():
        await asyncio.sleep(0.01)
        turns += 1
    assert turns >= 5
    assert await call


@pytest.mark.usefixtures("doubled")
def test_each_object_opens_its_own_model() -> None:
    """Closing one leaves the other working."""
    for cls, call in (
        (QwenEmbeddings, lambda made: made.embed_query("a")),
        (QwenReranker, lambda made: made.rerank(["a"], "a")),
        (QwenCrossEncoder, lambda made: made.score([("a", "a")])),
    ):
        one, other = cls(), cls()
        before = call(other)
        one.close()
        assert call(other) == before
