"""Right set-ups pass; on each wrong one exactly the right check fails and names the mend."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from qwen_retrieval import EmbedderSettings
from qwen_retrieval.doctor import examine
from qwen_retrieval.doctor.examine import _quiet
from servers.fault_server import FaultServer

from .conftest import TINY, settings_for

PREFIX = (
    "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery:"
)


@dataclass(frozen=True)
class Wrong:
    """A wrong set-up, and what is to be found out.

    Attributes:
        words: what is wrong.
        engine: of the server.
        kind: that the client takes it for.
        setup: its options.
        check: that fails.
        mend: part of the option that is named.
        local: a copy is given to compare with.
    """

    words: str
    engine: str
    kind: str
    setup: dict[str, Any] = field(default_factory=dict)
    check: str = ""
    mend: str = ""
    local: bool = False

    def __str__(self) -> str:
        return f"{self.engine}: {self.words}{' (with a copy)' if self.local else ''}"


WRONG = [
    Wrong("a reranker's server", "vllm", "embedder", {"serves": "reranker"}, "embedder", "--model"),
    Wrong("mean pooling", "vllm", "embedder", {"pooling": "mean"}, "pooling",
          """--pooler-config '{"seq_pooling_type":"LAST"}'""", local=True),
    Wrong("mean pooling", "tei", "embedder", {"pooling": "mean"}, "pooling",
          "--pooling last-token"),
    Wrong("mean pooling", "llama_cpp", "embedder", {"pooling": "mean"}, "pooling",
          "--pooling last", local=True),
    Wrong("no EOS", "vllm", "embedder", {"end": False}, "EOS", "--tokenizer"),
    Wrong("no EOS", "llama_cpp", "embedder", {"end": False}, "EOS",
          "tokenizer.ggml.add_eos_token=bool:true"),
    Wrong("no EOS", "ollama", "embedder", {"end": False}, "EOS", "convert_hf_to_gguf.py",
          local=True),
    Wrong("no EOS", "tei", "embedder", {"end": False}, "EOS", "tokenizer.json"),
    Wrong("no Matryoshka override", "vllm", "embedder", {"matryoshka": False}, "Matryoshka",
          """--hf-overrides '{"is_matryoshka":true}'"""),
    Wrong("no Matryoshka override", "sglang", "embedder", {"matryoshka": False}, "Matryoshka",
          """--json-model-override-args '{"is_matryoshka":true}'"""),
    Wrong("cut vectors not scaled", "vllm", "embedder", {"renormalises": False}, "unit norm",
          "this library cuts"),
    Wrong("cut vectors not scaled", "tei", "embedder", {"renormalises": False}, "unit norm",
          "normalize: true"),
    Wrong("default prompt", "tei", "embedder", {"default_prompt": PREFIX},
          "instruction not doubled", "--default-prompt"),
    Wrong("default prompt", "openai", "embedder", {"default_prompt": PREFIX},
          "instruction not doubled", "remove the default prompt", local=True),
    Wrong("float16", "vllm", "embedder", {"overflows": True}, "trap texts", "--dtype bfloat16"),
    Wrong("float16", "tei", "embedder", {"overflows": True}, "trap texts", "--dtype float32"),
    Wrong("another model", "vllm", "embedder", {"trained": False}, "same model", "--model",
          local=True),
    Wrong("another model", "infinity", "embedder", {"trained": False}, "same model", "--model-id",
          local=True),
    Wrong("padding unmasked", "tei", "embedder", {"pads": True}, "batch equals single", "upgrade"),
    Wrong("silent truncation", "tei", "embedder", {"truncates": True}, "long text",
          "--auto-truncate false"),
    Wrong("broken weights", "vllm", "embedder", {"constant": True}, "variance", "conversion"),
    Wrong("an embedder's server", "vllm", "reranker", {"serves": "embedder"}, "reranker",
          '"Qwen3ForSequenceClassification"'),
    Wrong("an embedder's server", "llama_cpp", "reranker", {"serves": "embedder"}, "reranker",
          "--reranking"),
    Wrong("no template", "vllm", "reranker", {"template": "none"}, "template", "--chat-template"),
    Wrong("the shipped template", "vllm", "reranker", {"template": "shipped"}, "template",
          "--chat-template"),
    Wrong("the shipped template", "sglang", "reranker", {"template": "shipped"}, "template",
          "--chat-template"),
    Wrong("no template", "llama_cpp", "reranker", {"template": "none"}, "template",
          "convert_hf_to_gguf.py", local=True),
    Wrong("yes and no swapped", "vllm", "reranker", {"swaps_answers": True}, "yes and no",
          '"classifier_from_token":["no","yes"]'),
    Wrong("float16", "vllm", "reranker", {"overflows": True}, "trap texts", "--dtype bfloat16"),
    Wrong("another model", "vllm", "reranker", {"trained": False}, "same model", "--model",
          local=True),
    Wrong("broken weights", "vllm", "reranker", {"constant": True}, "variance", "as released"),
]  # fmt: skip
RIGHT = [
    ("vllm", "embedder"), ("tei", "embedder"), ("llama_cpp", "embedder"), ("sglang", "embedder"),
    ("infinity", "embedder"), ("ollama", "embedder"), ("openai", "embedder"),
    ("vllm", "reranker"), ("sglang", "reranker"), ("llama_cpp", "reranker"),
]  # fmt: skip
ALONE = [("vllm", "embedder"), ("infinity", "embedder"), ("llama_cpp", "reranker")]
"""Compared with themselves: an engine that takes ids, one that takes text, one with a template."""


@pytest.mark.parametrize("wrong", WRONG, ids=str)
def test_exactly_the_right_check_fails(wrong: Wrong, examined: Any) -> None:
    """One check fails, and its mend names the option; what depends on it is not judged."""
    report = examined(wrong.engine, wrong.kind, local=wrong.local, **wrong.setup)
    assert [each.check for each in report.failed] == [wrong.check], report.to_json()
    assert wrong.mend in str(report.failed[0].mend)
    assert not report.ok


@pytest.mark.parametrize(
    ("kind", "own"),
    [
        ("embedder", {"query_instruction": "Find it", "document_prompt": "passage: "}),
        ("embedder", {"query_prompt": "q: "}),
        ("reranker", {"instruction": "Find the passage about animals"}),
    ],
    ids=str,
)
def test_prompts_of_ones_own_are_no_fault(kind: str, own: dict[str, Any]) -> None:
    """What is compared with knows nothing of them."""
    with FaultServer("vllm", serves=kind, max_length=512) as server:
        settings = replace(settings_for(kind, "vllm", server.url), **own)
        report = examine(settings, local=str(TINY / kind), quick=True)
    assert report.ok, report.to_json()


def test_vectors_that_are_not_to_be_of_unit_length_are_no_fault() -> None:
    """They are, where it is examined."""
    settings = EmbedderSettings(model=str(TINY / "embedder"), normalize=False)
    assert examine(settings, quick=True).ok


def test_a_server_is_examined_without_a_change_of_the_filters() -> None:
    """A first call does it in a thread of its own, and the filters are everybody's."""
    before = list(warnings.filters)
    with _quiet(settings_for("embedder", "vllm", "http://h")):
        assert warnings.filters == before
    with _quiet(EmbedderSettings()):
        assert warnings.filters != before
    assert warnings.filters == before


@pytest.mark.parametrize(
    ("engine", "kind", "local"),
    [(*each, True) for each in RIGHT] + [(*each, False) for each in ALONE],
)
def test_a_right_setup_passes(engine: str, kind: str, *, local: bool, examined: Any) -> None:
    """Nothing fails, and with a copy next to nothing is left unjudged."""
    template = {"template": "exact"} if kind == "reranker" else {}
    report = examined(engine, kind, local=local, **template)
    assert report.ok, report.to_json()
    left = [each for each in report.findings if each.status == "skip"]
    assert all("mended" not in each.measured for each in left)
    if local:
        assert {each.check for each in left} <= {"Matryoshka", "instruction honoured"}
