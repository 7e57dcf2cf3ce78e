"""Print what `evaluate` takes in memory and time as the corpus grows.

The embedder is a double that costs next to nothing, so what is seen is the evaluation itself:
reading, BM25, the store, search and measures, not the model. Each size has a process of its own.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from hashlib import blake2b
from itertools import accumulate
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from qwen_retrieval import EmbedderSettings
from qwen_retrieval.contract import Embedder
from qwen_retrieval.evaluation import evaluate, read_folder, stages
from qwen_retrieval.evaluation.folders import FolderWriter
from qwen_retrieval.testing import FakeEmbedder
from qwen_retrieval.vectors import cut_and_normalize

QUERIES = 200
WORDS = 15  # a document
VOCABULARY = 20_000
WIDTH = 64


class Cheap(FakeEmbedder):
    """An embedder whose vectors are the bytes of a digest, and which remembers nothing."""

    def _vectors(self, texts: list[str]) -> np.ndarray[Any, Any]:
        raw = b"".join(blake2b(text.encode(), digest_size=WIDTH).digest() for text in texts)
        rows = np.frombuffer(raw, np.uint8).reshape(-1, WIDTH).astype(np.float32) - 127.5
        return cut_and_normalize(rows, WIDTH, normalize=True)


def write(folder: Path, documents: int) -> None:
    """Write a collection of short documents of invented words, some of them common."""
    draw = random.Random(documents)
    words = [f"w{n}" for n in range(VOCABULARY)]
    weights = list(accumulate(1 / (n + 10) for n in range(VOCABULARY)))
    with FolderWriter(folder) as writer:
        for place in range(documents):
            text = " ".join(draw.choices(words, cum_weights=weights, k=WORDS))
            writer.document(f"document-{place}", text)
            if place < QUERIES:
                writer.query(f"q{place}", " ".join(text.split()[:4]))
                writer.judgement(f"q{place}", f"document-{place}", 1)


def measured(folder: Path) -> dict[str, float]:
    """Evaluate and return seconds and the process's peak memory in MiB."""

    def opened(settings: EmbedderSettings, **_: object) -> Embedder:
        return Cheap(settings)

    stages.open_embedder = opened
    start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    began = time.perf_counter()
    collection = read_folder(folder)
    read = time.perf_counter()
    report = evaluate(collection, embedder=EmbedderSettings(model="cheap"), language="plain")
    ended = time.perf_counter()
    return {
        "documents": len(collection.documents),
        "reading": read - began,
        "evaluating": ended - read,
        "before": start,
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "ndcg": report.runs[0].estimates["nDCG@10"].mean,
    }


def scaled(sizes: Sequence[int]) -> list[dict[str, float]]:
    """Return what each size takes."""
    found = []
    for size in sizes:
        with TemporaryDirectory() as place:
            write(Path(place) / "made", size)
            done = subprocess.run(
                [sys.executable, __file__, "--folder", str(Path(place) / "made")],
                check=True,
                stdout=subprocess.PIPE,
            )
        found.append(json.loads(done.stdout))
    return found


def main() -> None:
    """Measure one folder, or print the table of several sizes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, help="measure this one, print JSON")
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 50_000, 200_000])
    chosen = parser.parse_args()
    if chosen.folder is not None:
        sys.stdout.write(json.dumps(measured(chosen.folder)))
        return
    lines = ["| documents | reading, s | evaluating, s | memory before, MiB | peak, MiB |"]
    lines.append("| --- " * 5 + "|")
    lines += [
        f"| {each['documents']:,} | {each['reading']:.1f} | {each['evaluating']:.1f}"
        f" | {each['before']:.0f} | {each['peak']:.0f} |"
        for each in scaled(chosen.sizes)
    ]
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
