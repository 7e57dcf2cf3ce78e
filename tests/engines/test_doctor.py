"""The doctor on real servers that are started wrongly: exactly the right check fails."""

from __future__ import annotations

from typing import Any

import pytest

from engines.starting import TINY
from qwen_retrieval import EmbedderSettings, RerankerSettings
from qwen_retrieval.doctor import examine

# Engine, model served, options, what the client takes it for, the check that fails, its mend.
WRONG: list[tuple[str, str, dict[str, Any], list[str], str, str, str]] = [
    ("vllm", "embedder", {"matryoshka": False}, [], "embedder", "Matryoshka",
     """--hf-overrides '{"is_matryoshka":true}'"""),
    ("vllm", "embedder", {}, ["--pooler-config", '{"seq_pooling_type":"MEAN"}'], "embedder",
     "pooling", """--pooler-config '{"seq_pooling_type":"LAST"}'"""),
    ("vllm", "embedder", {}, [], "reranker", "reranker", '"Qwen3ForSequenceClassification"'),
    ("vllm", "reranker", {"template": False}, [], "reranker", "template", "--chat-template"),
    ("llama_cpp", "embedder", {}, ["--pooling", "mean"], "embedder", "pooling", "--pooling last"),
    ("llama_cpp", "embedder", {}, [], "reranker", "reranker", "--reranking"),
]  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG, ids=[f"{each[0]}-{each[5]}" for each in WRONG])
def test_exactly_the_right_check_fails(wrong: Any, engine: str, serve: Any, record: Any) -> None:
    """And it names the option that the server was started without."""
    name, served, setup, options, kind, check, mend = wrong
    if name != engine:
        pytest.skip(f"a set-up of {name}")
    made = EmbedderSettings if kind == "embedder" else RerankerSettings
    with serve(served, *options, **setup) as url:
        settings = made(model=str(TINY / kind), server=engine, base_url=url, max_retries=1)
        report = examine(settings, local=str(TINY / kind), quick=True)
    (failed,) = report.failed
    record(f"doctor, {served} {setup or options or f'as {kind}'}", f"{check}: {failed.measured}")
    assert failed.check == check, report.to_json()
    assert mend in str(failed.mend)
