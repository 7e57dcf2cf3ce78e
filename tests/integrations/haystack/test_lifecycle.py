"""Models open late and once, and are given up on request."""

import asyncio
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from time import sleep
from typing import Any

import pytest
from haystack import Document, Pipeline

from haystack_integrations.components.embedders.qwen_retrieval import (
    QwenDocumentEmbedder,
    QwenTextEmbedder,
)
from haystack_integrations.components.rankers.qwen_retrieval import QwenRanker
from qwen_retrieval.errors import ModelNotFoundError
from qwen_retrieval.testing import FakeEmbedder

from .conftest import Opened

INPUTS: dict[type, dict[str, Any]] = {
    QwenTextEmbedder: {"text": "green"},
    QwenDocumentEmbedder: {"documents": [Document(content="green")]},
    QwenRanker: {"query": "green", "documents": [Document(content="green")]},
}
each = pytest.mark.parametrize("kind", list(INPUTS))


@each
def test_constructing_opens_nothing_and_runs_share_one_model(kind: Any, opened: Opened) -> None:
    """The first run opens; later runs use the same model."""
    made = kind()
    assert not opened
    first, second = made.run(**INPUTS[kind]), made.run(**INPUTS[kind])
    assert first == second
    assert len(opened) == 1


@each
def test_warm_up_computes_once(kind: Any, opened: Opened) -> None:
    """A pipeline warms up before every run, which must cost nothing the second time."""
    made = kind()
    made.warm_up()
    made.warm_up()
    assert len(opened[0].seen) == 1
    assert "".join(opened[0].seen).strip().endswith(("", "<Document>:"))


@each
async def test_warm_up_async_computes_once_by_a_coroutine(kind: Any, opened: Opened) -> None:
    """The same on an event loop, without blocking it."""
    made = kind()
    await made.warm_up_async()
    await made.warm_up_async()
    assert len(opened[0].seen) == 1
    assert opened[0].called[0].startswith("a")


@each
def test_close_gives_up_the_model_and_a_later_run_opens_another(kind: Any, opened: Opened) -> None:
    """As Haystack's components do: closed pipelines can run again."""
    made = kind()
    made.close()
    before = made.run(**INPUTS[kind])
    made.close()
    made.close()
    assert opened[0].called[-1] == "close"
    assert made.run(**INPUTS[kind]) == before
    made.warm_up()
    assert len(opened) == 2


@each
async def test_close_async_gives_up_the_model(kind: Any, opened: Opened) -> None:
    """By the core's own coroutine."""
    made = kind()
    await made.run_async(**INPUTS[kind])
    await made.close_async()
    assert "aclose" in opened[0].called
    await made.run_async(**INPUTS[kind])
    assert len(opened) == 2


async def test_pipelines_warm_up_and_close_their_components(opened: Opened) -> None:
    """Through the pipeline's own methods, sync and async."""
    pipeline = Pipeline()
    pipeline.add_component("ranker", QwenRanker())
    pipeline.warm_up()
    pipeline.close()
    await pipeline.warm_up_async()
    await pipeline.close_async()
    assert [model.called for model in opened] == [
        ["score", "close"],
        ["ascore", "score", "aclose", "close"],
    ]


def test_threads_open_one_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sixteen first runs at once, and an opening slow enough for them to meet."""
    opened = []

    def slowly(settings: Any, **_: Any) -> FakeEmbedder:
        sleep(0.05)
        opened.append(settings)
        return FakeEmbedder(settings)

    monkeypatch.setattr("qwen_retrieval.local.embedder.LocalEmbedder", slowly)
    embedder, barrier = QwenTextEmbedder(), Barrier(16)

    def run(number: int) -> list[float]:
        barrier.wait()
        return embedder.run(f"text {number % 2}")["embedding"]

    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(run, range(16)))
    assert len(opened) == 1
    assert found == found[:2] * 8


async def test_concurrent_runs_give_the_serial_results(opened: Opened) -> None:
    """Fifty coroutines on one component."""
    embedder = QwenTextEmbedder()
    found = await asyncio.gather(*(embedder.run_async(f"text {n}") for n in range(50)))
    assert found == [embedder.run(f"text {n}") for n in range(50)]
    assert len(opened) == 1


@each
def test_a_loaded_model_is_handed_to_the_core(kind: Any, opened: Opened) -> None:
    """Under its own name, which a parameter may replace."""

    class Loaded:
        class transformers_model:  # noqa: N801 - the attribute that sentence-transformers has
            name_or_path = "somebody/a-model"

    loaded = Loaded()
    made = kind.from_loaded(loaded, batch_size=2)
    made.run(**INPUTS[kind])
    assert opened[0].loaded is loaded
    assert (made.settings.model, made.settings.batch_size) == ("somebody/a-model", 2)
    assert kind.from_loaded(loaded, model="mine").settings.model == "mine"


def test_a_missing_model_raises_the_cores_error(tmp_path: Any) -> None:
    """At warm-up, before the first query waits for it."""
    with pytest.raises(ModelNotFoundError, match="nowhere"):
        QwenTextEmbedder(model=str(tmp_path / "nowhere"), local_files_only=True).warm_up()


def _run(program: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120
    )
    return done.stdout.strip()


@pytest.mark.parametrize("package", ["embedders", "rankers"])
def test_without_haystack_the_import_says_what_to_install(package: str) -> None:
    """The pip command is in the error, and nothing else hides it."""
    program = f"""
import sys
sys.modules["haystack"] = None
import haystack_integrations
try:
    import haystack_integrations.components.{package}.qwen_retrieval
except ImportError as error:
    print(error, "|", type(error.__cause__).__name__)
"""
    said = _run(program)
    assert "pip install 'qwen-retrieval[haystack]'" in said
    assert said.endswith("| ModuleNotFoundError")


def test_import_is_light_beside_haystack() -> None:
    """No model library is imported, and less than 100 ms of computing, on top of Haystack's own."""
    program = """
import sys, time
from haystack import Pipeline, component
from haystack.utils import ComponentDevice, Secret
import numpy
before, start = set(sys.modules), time.process_time()
from haystack_integrations.components.embedders.qwen_retrieval import QwenTextEmbedder
from haystack_integrations.components.rankers.qwen_retrieval import QwenRanker
QwenTextEmbedder(), QwenRanker()
spent = time.process_time() - start
new = {name.partition(".")[0] for name in set(sys.modules) - before}
print(spent, "transformers" in new or "sentence_transformers" in new)
"""
    runs = [_run(program).split() for _ in range(3)]
    assert {heavy for _, heavy in runs} == {"False"}
    assert min(float(spent) for spent, _ in runs) < 0.1
