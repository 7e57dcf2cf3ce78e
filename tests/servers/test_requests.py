"""What each engine is sent, byte for byte: bodies from `Call`s and items, without any network."""

from __future__ import annotations

import json
from typing import Any

import pytest

from qwen_retrieval import EmbedderSettings, RerankerSettings
from qwen_retrieval.errors import ServerUnsupportedError
from qwen_retrieval.servers.engine import Call, Served
from qwen_retrieval.servers.engines import EMBEDDING, RERANK, embedding_engine, rerank_engine
from qwen_retrieval.servers.handle import root

IDS = [[1, 2, 9], [1, 2, 3, 9]]
TEXTS = ["héllo", "w"]
PAIRS = [("q", "a"), ("q", "b")]
TASK = "Find it"
DASHSCOPE = "/api/v1/services"

EMBEDS: dict[str, tuple[list[Any], str, dict[str, Any]]] = {
    "vllm": (
        IDS,
        "/v1/embeddings",
        {"model": "m", "input": IDS, "encoding_format": "base64"},
    ),
    "sglang": (
        IDS,
        "/v1/embeddings",
        {"model": "m", "input": IDS, "encoding_format": "base64"},
    ),
    "llama_cpp": (
        IDS,
        "/v1/embeddings",
        {"model": "m", "input": IDS, "encoding_format": "base64"},
    ),
    "tei": (TEXTS, "/embed", {"inputs": TEXTS, "truncate": False, "normalize": True}),
    "ollama": (TEXTS, "/api/embed", {"model": "m", "input": TEXTS, "truncate": False}),
    "infinity": (
        TEXTS,
        "/embeddings",
        {"model": "m", "input": TEXTS, "encoding_format": "base64"},
    ),
    "openai": (
        TEXTS,
        "/embeddings",
        {"model": "m", "input": TEXTS, "encoding_format": "base64"},
    ),
    "dashscope": (
        TEXTS,
        f"{DASHSCOPE}/embeddings/text-embedding/text-embedding",
        {"model": "m", "input": {"texts": TEXTS}, "parameters": {"text_type": "document"}},
    ),
}
JINA = {
    "model": "m",
    "query": "q",
    "documents": ["a", "b"],
    "top_n": 2,
    "return_documents": False,
}
RERANKS: dict[str, tuple[list[Any], str, dict[str, Any]]] = {
    "vllm": (IDS, "/classify", {"model": "m", "input": IDS}),
    "sglang": (
        IDS,
        "/v1/score",
        {
            "model": "m",
            "query": [1, 2],
            "items": [[9], [3, 9]],
            "label_token_ids": [5, 6],
            "apply_softmax": True,
        },
    ),
    "llama_cpp": (PAIRS, "/rerank", JINA),
    "jina": (PAIRS, "/rerank", JINA),
    "dashscope": (
        PAIRS,
        f"{DASHSCOPE}/rerank/text-rerank/text-rerank",
        {
            "model": "m",
            "input": {"query": "q", "documents": ["a", "b"]},
            "parameters": {"top_n": 2, "return_documents": False, "instruct": TASK},
        },
    ),
}


def test_every_engine_is_shown_here() -> None:
    """An engine that is added must say here what it sends."""
    assert (EMBEDS.keys(), RERANKS.keys()) == (EMBEDDING.keys(), RERANK.keys())


@pytest.mark.parametrize("server", EMBEDS)
def test_an_embedding_request(server: str) -> None:
    """No engine is asked to cut vectors, to truncate or to put anything before a text."""
    items, path, body = EMBEDS[server]
    request = EMBEDDING[server].request(items, Call("m"))
    assert (request.path, request.body) == (path, body)
    assert json.loads(json.dumps(request.body)) == body


@pytest.mark.parametrize("server", RERANKS)
def test_a_reranking_request(server: str) -> None:
    """Whole prompts go where ids are taken, else the pair as it is."""
    items, path, body = RERANKS[server]
    request = RERANK[server].request(items, Call("m", instruction=TASK, answers=(5, 6)))
    assert (request.path, request.body) == (path, body)


def test_vllm_is_asked_for_logits_where_they_are_wanted() -> None:
    """A probability cannot become a logit again."""
    body = RERANK["vllm"].request(IDS, Call("m", logits=True)).body
    assert body == {"model": "m", "input": IDS, "use_activation": False}


def test_sglang_gives_both_answers() -> None:
    """P("yes"), or the difference of the logarithms."""
    score = RERANK["sglang"].score
    assert score([0.9, 0.1], Call("m")) == 0.9
    assert score([0.9, 0.1], Call("m", logits=True)) == pytest.approx(2.1972245773)
    with pytest.raises(ValueError, match="not enough"):
        score([0.9], Call("m"))


def test_sglang_never_gets_an_empty_part() -> None:
    """One prompt, or one that begins another, still leaves an item."""
    for items in ([[1, 2, 3]], [[1, 2], [1, 2, 3]], [[4, 4], [4, 4]]):
        body = dict(RERANK["sglang"].request(items, Call("m")).body or {})
        assert all(body["items"])
        assert [body["query"] + item for item in body["items"]] == items


def test_dashscope_gets_the_instruction_with_queries_alone() -> None:
    """And the width, which only the service can cut."""
    request = EMBEDDING["dashscope"].request
    asked = request(TEXTS, Call("m", instruction=TASK, is_query=True, dimensions=64)).body
    assert dict(asked or {})["parameters"] == {
        "text_type": "query",
        "instruct": TASK,
        "dimension": 64,
    }
    plain = request(TEXTS, Call("m", instruction="", is_query=True)).body
    assert dict(plain or {})["parameters"] == {"text_type": "document"}


LISTINGS: list[tuple[str, Any, list[Served]]] = [
    (
        "vllm",
        {"object": "list", "data": [{"id": "q", "max_model_len": 512, "root": "/models/q"}]},
        [Served("q", context=512)],
    ),
    ("openai", {"data": [{"id": "a"}, {"id": "b"}]}, [Served("a"), Served("b")]),
    (
        "tei",
        {"model_id": "q", "max_input_length": 100, "max_client_batch_size": 32, "version": "1.9"},
        [Served("q", context=100, batch=32)],
    ),
    (
        "llama_cpp",
        {"default_generation_settings": {"n_ctx": 256}, "model_path": "q.gguf", "total_slots": 4},
        [Served("q.gguf", context=255)],
    ),
    ("ollama", {"models": [{"name": "q:0.6b", "model": "q:0.6b"}]}, [Served("q:0.6b")]),
]


@pytest.mark.parametrize(("server", "answer", "found"), LISTINGS)
def test_a_server_tells_its_models_and_limits(server: str, answer: Any, found: Any) -> None:
    """From the shapes in which each says so."""
    assert EMBEDDING[server].read_listing(answer) == found


ADDRESSES = [
    ("vllm", "http://h:1", "http://h:1"),
    ("vllm", "http://h:1/v1", "http://h:1"),
    ("vllm", "http://h:1/gpu/v1/", "http://h:1/gpu"),
    ("infinity", "http://h:1", "http://h:1"),
    ("infinity", "http://h:1/v1", "http://h:1/v1"),
    ("openai", "http://h:1", "http://h:1/v1"),
    ("openai", "https://h/compatible-mode/v1/", "https://h/compatible-mode/v1"),
]


@pytest.mark.parametrize(("server", "given", "used"), ADDRESSES)
def test_an_address_may_end_in_v1(server: Any, given: str, used: str) -> None:
    """As OpenAI's own clients want it, whatever the engine's paths are."""
    settings = EmbedderSettings(server=server, base_url=given)
    assert root(settings, embedding_engine(settings)) == used


def test_dashscope_has_an_address() -> None:
    """The one in mainland China, unless another is given."""
    settings = RerankerSettings(server="dashscope")
    assert root(settings, rerank_engine(settings)) == "https://dashscope.aliyuncs.com"


def test_an_engine_is_not_asked_for_what_it_cannot() -> None:
    """Refused when it is opened, with those that can."""
    with pytest.raises(ServerUnsupportedError, match=r"'tei', .*not rerank .*'sglang', 'vllm'"):
        rerank_engine(RerankerSettings(server="tei", base_url="http://h"))
    with pytest.raises(ServerUnsupportedError, match=r"'jina', .*does not embed.*'vllm'"):
        embedding_engine(EmbedderSettings(server="jina", base_url="http://h"))
