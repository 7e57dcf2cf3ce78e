"""What an import loads and how long it takes, each in a fresh interpreter."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from needs import need

LIMIT = 0.100
RUNS = 5
HEAVY = ("torch", "transformers", "sentence_transformers")

# What of each framework a program for retrieval imports anyway.
THEIRS = {
    "langchain": (
        "from langchain_core.cross_encoders import BaseCrossEncoder;"
        "from langchain_core.documents import BaseDocumentCompressor;"
        "from langchain_core.vectorstores import InMemoryVectorStore"
    ),
    "llama-index": "import llama_index.core",
    "haystack": "import haystack",
}
PACKAGES = {
    "langchain": "langchain_core",
    "llama-index": "llama_index.core",
    "haystack": "haystack",
}
CLASSES = {
    "langchain": {
        "langchain_qwen_retrieval": ["QwenEmbeddings", "QwenReranker", "QwenCrossEncoder"]
    },
    "llama-index": {
        "llama_index.embeddings.qwen_retrieval": ["QwenEmbedding"],
        "llama_index.postprocessor.qwen_retrieval": ["QwenRerank"],
    },
    "haystack": {
        "haystack_integrations.components.embedders.qwen_retrieval": [
            "QwenTextEmbedder",
            "QwenDocumentEmbedder",
        ],
        "haystack_integrations.components.rankers.qwen_retrieval": ["QwenRanker"],
    },
}

MEASURE = """
import json, sys, time
{before}
loaded = set(sys.modules)
started = time.process_time()
{code}
seconds = time.process_time() - started
new = sorted(set(sys.modules) - loaded)
print(json.dumps({{"seconds": seconds, "new": new}}))
"""


def measure(code: str, before: str = "") -> dict[str, Any]:
    """Run code in a fresh interpreter; return its CPU seconds and the modules that it loaded.

    CPU time, because other programs on the machine do not stretch it.
    """
    program = MEASURE.format(before=before, code=code)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=False, encoding="utf-8"
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def imports(name: str) -> tuple[str, str]:
    """Return the imports of a framework and of ours; skip where it is not installed."""
    need(PACKAGES[name], name)
    return THEIRS[name], f"import {', '.join(CLASSES[name])}"


def test_the_core_imports_in_a_tenth_of_a_second() -> None:
    """`import qwen_retrieval` takes less than 100 ms, best of five, since noise only adds."""
    seconds = [measure("import qwen_retrieval")["seconds"] for _ in range(RUNS)]
    assert min(seconds) < LIMIT, seconds


def test_the_core_loads_neither_torch_nor_a_framework() -> None:
    """`import qwen_retrieval` leaves torch, its users and the frameworks alone."""
    tops = {name.split(".")[0] for name in measure("import qwen_retrieval")["new"]}
    others = {"langchain_core", "llama_index", "haystack", "pydantic", "httpx", "stamina"}
    assert tops.isdisjoint({*HEAVY, *others})


@pytest.mark.parametrize("name", CLASSES)
def test_an_adapter_adds_little_to_its_framework(name: str) -> None:
    """An adapter's import adds less than 100 ms to its framework's own: best of five."""
    theirs, ours = imports(name)
    seconds = [measure(ours, theirs)["seconds"] for _ in range(RUNS)]
    assert min(seconds) < LIMIT, seconds


@pytest.mark.parametrize("name", CLASSES)
def test_an_adapter_loads_no_model_library(name: str) -> None:
    """An adapter's import adds neither torch nor a library that loads models."""
    theirs, ours = imports(name)
    tops = {module.split(".")[0] for module in measure(ours, theirs)["new"]}
    assert tops.isdisjoint(HEAVY)


@pytest.mark.parametrize("name", CLASSES)
def test_constructing_loads_no_weights(name: str) -> None:
    """Constructing any class loads no library that could load weights."""
    imports(name)
    from_imports = [f"from {module} import {', '.join(c)}" for module, c in CLASSES[name].items()]
    made = [f"{each}()" for classes in CLASSES[name].values() for each in classes]
    new = measure("; ".join(made), "\n".join(from_imports))["new"]
    assert {module.split(".")[0] for module in new}.isdisjoint(HEAVY)


def test_opening_the_core_loads_no_weights() -> None:
    """`open_embedder` and `open_reranker` load nothing before the first call."""
    new = measure(
        "qwen_retrieval.open_embedder(qwen_retrieval.EmbedderSettings());"
        "qwen_retrieval.open_reranker(qwen_retrieval.RerankerSettings())",
        "import qwen_retrieval",
    )["new"]
    assert {module.split(".")[0] for module in new}.isdisjoint(HEAVY)


def test_opening_a_server_connects_to_nothing() -> None:
    """Neither its packages nor those of local models are loaded before the first call."""
    at = "server='vllm', base_url='http://127.0.0.1:9'"
    new = measure(
        f"qwen_retrieval.open_embedder(qwen_retrieval.EmbedderSettings({at}));"
        f"qwen_retrieval.open_reranker(qwen_retrieval.RerankerSettings({at}))",
        "import qwen_retrieval",
    )["new"]
    assert {module.split(".")[0] for module in new}.isdisjoint({*HEAVY, "httpx", "stamina"})
