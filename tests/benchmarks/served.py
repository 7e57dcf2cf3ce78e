"""Serving engines as contenders: what they answer over HTTP, from a server started for the cell.

vLLM and llama-server are taken from where ``nox -s engines`` leaves them, or from the program that
``QWEN_RETRIEVAL_VLLM`` (a Python with vLLM) or the folder that ``QWEN_RETRIEVAL_LLAMA_CPP`` (with
``llama-server`` and llama.cpp's ``source``) names. Who has neither gets a shorter table.
"""

from __future__ import annotations

import atexit
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from transformers import AutoTokenizer
from workloads import Workload

from engines import starting

HERE = Path(__file__).resolve().parent
KEPT = HERE.parents[1] / ".nox"
VLLM = Path(os.environ.get("QWEN_RETRIEVAL_VLLM", KEPT / "engines-engine-vllm" / "bin" / "python"))
LLAMA_CPP = Path(os.environ.get("QWEN_RETRIEVAL_LLAMA_CPP", KEPT / "llama-cpp-python-0.3.36"))
CONTEXT = 8192
CACHE_GIB = "4"
"""vLLM's room for keys and values; a token of the 0.6B shape takes 224 KiB in float32."""
AS_DEFAULT = ("--parallel", "4", "-c", str(4 * 4096), "-ctk", "f16", "-ctv", "f16", "-fa", "auto")
"""What llama-server is mostly run with, where the parity tests ask it for exactness."""


def vllm(folder: Path, work: Workload) -> Callable[[], np.ndarray]:
    """VLLM in float32, sent the prompts' token ids, each time as if it had never seen them."""
    os.environ["QWEN_RETRIEVAL_ENGINE_PYTHON"] = str(VLLM)
    launch = starting.vllm(
        _kind(work), "--max-num-seqs", "128", "--max-model-len", str(CONTEXT), model=folder
    )
    more = {"VLLM_CPU_KVCACHE_SPACE": CACHE_GIB, "VLLM_SERVER_DEV_MODE": "1"}  # to forget texts
    client = _client(replace(launch, environment={**launch.environment, **more}))
    tokenizer = AutoTokenizer.from_pretrained(str(folder))

    def answer() -> np.ndarray:
        client.post("/reset_prefix_cache").raise_for_status()
        body = {"model": str(folder), "input": work.token_ids(tokenizer)}
        if not work.is_reranking:
            return _vectors(client, body)
        body["use_activation"] = False
        found = client.post("/classify", json=body).raise_for_status().json()["data"]
        return np.array([each["probs"][0] for each in found])

    return answer


def llama_cpp(folder: Path, work: Workload) -> Callable[[], np.ndarray]:
    """llama-server with weights of 8 bits (Q8_0), which renders its own prompt for reranking."""
    file = folder.with_suffix(folder.suffix + ".q8_0.gguf")
    if not file.exists():
        source = LLAMA_CPP / "source" / "vendor" / "llama.cpp"
        program = HERE.parent / "engines" / "to_gguf.py"
        subprocess.run(
            [sys.executable, str(program), str(source), str(folder), str(file), "q8_0"],
            check=True, capture_output=True,
        )  # fmt: skip
    os.environ["QWEN_RETRIEVAL_ENGINE_FOLDER"] = str(LLAMA_CPP)
    client = _client(starting.llama_cpp(_kind(work), *AS_DEFAULT, model=file))
    if not work.is_reranking:
        tokenizer = AutoTokenizer.from_pretrained(str(folder))
        return lambda: _vectors(client, {"input": work.token_ids(tokenizer)})
    pools: dict[str, list[str]] = {}
    for query, document in work.pairs:
        pools.setdefault(query, []).append(document)

    def answer() -> np.ndarray:
        return np.concatenate([_reranked(client, *pool) for pool in pools.items()])

    return answer


def served() -> dict[str, Callable[[Path, Workload], Callable[[], np.ndarray]]]:
    """Return the engines that are at hand, by name."""
    found: dict[str, Callable[[Path, Workload], Callable[[], np.ndarray]]] = {}
    if VLLM.exists():
        found["vLLM, float32"] = vllm
    if (LLAMA_CPP / "llama-server").exists():
        found["llama-server, Q8_0"] = llama_cpp
    return found


def _kind(work: Workload) -> str:
    return "reranker" if work.is_reranking else "embedder"


def _client(launch: starting.Launch) -> httpx.Client:
    """Return a client of a server that ends with this process."""
    stack = ExitStack()
    atexit.register(stack.close)
    folder = stack.enter_context(tempfile.TemporaryDirectory())
    url = stack.enter_context(starting.running(launch, Path(folder) / "log"))
    return stack.enter_context(httpx.Client(base_url=url, timeout=1800))


def _vectors(client: httpx.Client, body: dict[str, Any]) -> np.ndarray:
    found = client.post("/v1/embeddings", json=body).raise_for_status().json()["data"]
    return np.array([each["embedding"] for each in sorted(found, key=lambda each: each["index"])])


def _reranked(client: httpx.Client, query: str, documents: list[str]) -> np.ndarray:
    body = {"query": query, "documents": documents}
    found = client.post("/rerank", json=body).raise_for_status().json()["results"]
    scores = np.empty(len(documents))
    for each in found:
        scores[each["index"]] = each["relevance_score"]
    return np.log(scores / (1 - scores))
