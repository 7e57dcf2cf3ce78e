"""Prints our throughput beside others' against one real vLLM, in one run.

``python -m nox -s bench -- servers``, after ``nox -s "engines(engine='vllm')"``, starts vLLM with
the tiny embedder, has 2,000 texts embedded, then with the tiny reranker, and has 40 documents
reranked for each of 50 queries. The contenders take turns; their rounds' median is printed.

What a user of a framework does without this library: `OpenAIEmbeddings` of langchain-openai for
vectors (LlamaIndex's and Haystack's OpenAI embedders speak through the same client), and for
reranking one POST to ``/rerank`` a query, which is what the frameworks' rerank clients send.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parent / "core")]

import httpx  # noqa: E402
from langchain_core.documents import Document  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402
from served import VLLM  # noqa: E402

from engines import material  # noqa: E402
from engines.starting import CONTEXT, TINY, running, vllm  # noqa: E402
from langchain_qwen_retrieval import QwenEmbeddings, QwenReranker  # noqa: E402
from qwen_retrieval import RerankerSettings, open_reranker  # noqa: E402

SEQUENCES = "128"
"""That the server computes at once, at most; its own default for a CPU."""
CHARACTERS = 1500
"""Of a text at most, so that no contender has one refused."""

Contender = Callable[[], object]


def main() -> None:
    """Measure both stages and print a table of each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--texts", type=int, default=2000)
    parser.add_argument("--queries", type=int, default=50)
    parser.add_argument("--documents", type=int, default=40)
    options = parser.parse_args()
    os.environ.setdefault("QWEN_RETRIEVAL_ENGINE_PYTHON", str(VLLM))
    texts = [text[:CHARACTERS] for text in material.TEXTS[: options.texts]]
    with tempfile.TemporaryDirectory() as folder:
        launch = vllm("embedder", "--max-num-seqs", SEQUENCES)
        with running(launch, Path(folder) / "embedder.log") as url:
            measured = rounds(embedding(url, texts), options.rounds)
        show(f"{len(texts):,} texts embedded", measured, len(texts), "texts/s")
        launch = vllm("reranker", "--max-num-seqs", SEQUENCES)
        questions = material.QUESTIONS[: options.queries]
        pools = [
            texts[place * 7 % 1000 : place * 7 % 1000 + options.documents]
            for place in range(len(questions))
        ]
        with running(launch, Path(folder) / "reranker.log") as url:
            measured = rounds(reranking(url, questions, pools), options.rounds)
        pairs = sum(map(len, pools))
        show(f"{len(questions)} × {options.documents} reranked", measured, pairs, "pairs/s")


def embedding(url: str, texts: list[str]) -> Mapping[str, Contender]:
    """Return the contenders, ours first."""
    from langchain_openai import OpenAIEmbeddings

    model = str(TINY / "embedder")
    ours = QwenEmbeddings(model=model, server="vllm", base_url=url, max_length=CONTEXT)
    theirs = OpenAIEmbeddings(
        model=model,
        base_url=f"{url}/v1",
        api_key="none",  # type: ignore[arg-type] # a str becomes a secret
        check_embedding_ctx_length=False,  # else it sends the ids of OpenAI's own tokenizer
    )
    return {
        "QwenEmbeddings": partial(ours.embed_documents, texts),
        "langchain-openai OpenAIEmbeddings": partial(theirs.embed_documents, texts),
    }


def reranking(url: str, questions: list[str], pools: list[list[str]]) -> Mapping[str, Contender]:
    """Return the contenders, ours first."""
    settings = {
        "model": str(TINY / "reranker"), "server": "vllm", "base_url": url, "max_length": CONTEXT,
    }  # fmt: skip
    ours = QwenReranker(**settings)
    core = open_reranker(RerankerSettings(**settings))
    documents = [[Document(page_content=text) for text in pool] for pool in pools]

    def one_by_one() -> None:
        for question, pool in zip(questions, documents, strict=True):
            ours.compress_documents(pool, question)

    async def together() -> None:
        await asyncio.gather(*map(core.arerank, questions, pools))

    client = httpx.Client(base_url=url, timeout=600)

    def post(question: str, pool: list[str]) -> None:
        body = {"model": settings["model"], "query": question, "documents": pool}
        client.post("/rerank", json=body).raise_for_status()

    def plain() -> None:
        for question, pool in zip(questions, pools, strict=True):
            post(question, pool)

    return {
        "QwenReranker, query after query": one_by_one,
        "arerank, all queries at once": lambda: asyncio.run(together()),
        "POST /rerank, query after query": plain,
    }


def rounds(contenders: Mapping[str, Contender], count: int) -> dict[str, float]:
    """Return the median seconds of each, after one round that does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(count + 1):
        for name, run in contenders.items():
            began = time.perf_counter()
            run()
            if number:
                seconds[name].append(time.perf_counter() - began)
    return {name: statistics.median(each) for name, each in seconds.items()}


def show(title: str, measured: Mapping[str, float], items: int, unit: str) -> None:
    """Print seconds, throughput, and how ours compares with each."""
    table = Table(title=title)
    for name in ("", "s", unit, "the first is faster by"):
        table.add_column(name, justify="right" if name else "left")
    first = next(iter(measured.values()))
    for name, seconds in measured.items():
        row = (f"{seconds:.2f}", f"{items / seconds:,.0f}", f"{seconds / first:.2f}×")
        table.add_row(name, *row)
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
