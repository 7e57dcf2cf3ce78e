"""Models named by their hub ids: the first run, which downloads them, is like any later one."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hub import serving
from plain_forward import PlainEmbedder, PlainReranker
from samples import PASSAGES
from transformers import Qwen3ForCausalLM

PROGRAM = """
import json, sys
from qwen_retrieval import EmbedderSettings, RerankerSettings, open_embedder, open_reranker
texts = json.loads(sys.argv[1])
embedder = open_embedder(EmbedderSettings(model="some/embedder", dtype="float32", device="cpu"))
reranker = open_reranker(RerankerSettings(model="some/reranker", dtype="float32", device="cpu"))
found = [
    embedder.embed_documents(texts).tolist(),
    reranker.score([("gravity", text) for text in texts]).tolist(),
]
for opened in (embedder, reranker):
    inner = opened.replicas()[0]._model.transformers_model
    found.append(str(inner.get_input_embeddings().weight.dtype))
print(json.dumps(found))
"""


def opened(home: Path, **variables: str) -> Any:
    """Return vectors, scores and the vocabularies' dtypes from a process with that cache."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("HF_")}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(PASSAGES)],
        env=environment | {"HF_HOME": str(home)} | variables,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_a_first_run_is_as_a_later_one(embedder64: Path, causal64: Path, tmp_path: Path) -> None:
    """The same numbers, and the vocabulary left in the files' own 16 bits, mapped.

    Of whole weights and of weights in several files; others that lie in the repository change
    nothing.
    """
    folders = {"some/embedder": tmp_path / "embedder", "some/reranker": tmp_path / "reranker"}
    for source, folder in zip((embedder64, causal64), folders.values(), strict=True):
        shutil.copytree(source, folder)
        (folder / "checkpoint-5").mkdir()
        shutil.copy(folder / "model.safetensors", folder / "checkpoint-5")
    inner = Qwen3ForCausalLM.from_pretrained(causal64, dtype=torch.bfloat16)
    (folders["some/reranker"] / "model.safetensors").unlink()
    inner.save_pretrained(folders["some/reranker"], max_shard_size="100KB")
    with serving(folders) as hub:
        first = opened(tmp_path / "home", HF_ENDPOINT=hub.address)
    assert "GET some/embedder/model.safetensors" in hub.seen
    assert "GET some/reranker/model.safetensors.index.json" in hub.seen
    assert not any("checkpoint-5" in request for request in hub.seen)
    assert first == opened(tmp_path / "home", HF_HUB_OFFLINE="1")
    vectors, scores, *dtypes = first
    assert dtypes == ["torch.bfloat16"] * 2
    expected = PlainEmbedder(embedder64).vectors(PASSAGES)
    assert np.abs(np.array(vectors) - expected).max() < 1e-5
    pairs = [("gravity", text) for text in PASSAGES]
    assert np.abs(np.array(scores) - PlainReranker(causal64).scores(pairs)).max() < 1e-5
