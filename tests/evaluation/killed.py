"""Runs `evaluate` on a folder and notes every text before a model gets it; made to be killed.

``python killed.py FOLDER STORE LOG REPORT EMBEDDER RERANKER``; "double" stands for the library's
doubles.
"""

from __future__ import annotations

import os
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from qwen_retrieval import EmbedderSettings, RerankerSettings, open_embedder, open_reranker
from qwen_retrieval.evaluation import evaluate, read_folder, stages
from qwen_retrieval.evaluation.report import save
from qwen_retrieval.testing import doubles

BATCH = 4


class Noting:
    """A model that writes down what it is given before it begins."""

    def __init__(self, model: Any, log: Path) -> None:
        self._model, self._log = model, log

    def embed_documents(self, texts: Any) -> Any:
        """Embed, noting the texts first."""
        self._note("document", texts)
        return self._model.embed_documents(texts)

    def embed_queries(self, texts: Any) -> Any:
        """Embed, noting the texts first."""
        self._note("query", texts)
        return self._model.embed_queries(texts)

    def score(self, pairs: Any) -> Any:
        """Score, noting the pairs first."""
        self._note("pair", [f"{query} / {document}" for query, document in pairs])
        return self._model.score(pairs)

    def close(self) -> None:
        """Close the model."""
        self._model.close()

    def _note(self, kind: str, texts: Any) -> None:
        lines = "".join(f"{kind} {text!r}\t" for text in texts) + "\n"
        with self._log.open("ab") as file:
            file.write(lines.encode())  # one call, one line


def main() -> None:
    """Evaluate."""
    folder, store, log, report = map(Path, sys.argv[1:5])
    embedder, reranker = sys.argv[5:]
    stages.BATCH = BATCH
    stages.open_embedder = lambda *a, **k: Noting(open_embedder(*a, **k), log)
    stages.open_reranker = lambda *a, **k: Noting(open_reranker(*a, **k), log)
    with doubles() if embedder == "double" else nullcontext():
        found = evaluate(
            read_folder(folder),
            embedder=EmbedderSettings(model=embedder, device="cpu", dtype="float32"),
            reranker=RerankerSettings(model=reranker, device="cpu", dtype="float32"),
            dimensions=[64, 256],
            depth=5,
            store=store,
        )
    save([found], report)
    sys.stdout.flush()
    os._exit(0)  # torch takes its time to leave


if __name__ == "__main__":
    main()
