"""`check_server=True`: a wrong set-up is found out before the first call, and only once."""

from __future__ import annotations

import asyncio
import pickle
from dataclasses import replace
from typing import Any

import pytest

from langchain_qwen_retrieval import QwenEmbeddings
from qwen_retrieval import EmbedderSettings, RerankerSettings, open_embedder, open_reranker
from qwen_retrieval.doctor import examine
from qwen_retrieval.errors import (
    ServerAccessError,
    ServerRefusedError,
    ServerSetupError,
    ServerTimeoutError,
    ServerUnreachableError,
    SettingsError,
)
from servers import faults
from servers.fault_server import FaultServer

from .conftest import TINY


def settings(server: FaultServer, **more: Any) -> dict[str, Any]:
    """Return the settings of a client that asks for the check."""
    return {
        "model": str(TINY / "embedder"), "server": server.engine.name, "base_url": server.url,
        "check_server": True, **more,
    }  # fmt: skip


def test_a_wrong_setup_raises_before_the_first_call() -> None:
    """The error names the check and the option that mends it, for methods and coroutines."""
    with FaultServer("vllm", overflows=True, max_length=512) as server:
        embedder = open_embedder(EmbedderSettings(**settings(server)))
        with pytest.raises(ServerSetupError, match=r"trap texts: .* --dtype .*check_server=False"):
            embedder.embed_documents(["a text"])
        with pytest.raises(ServerSetupError, match="trap texts"):
            asyncio.run(embedder.aembed_queries(["a question"]))
        embedder.close()


def test_a_right_setup_is_examined_once() -> None:
    """Later calls of the same object ask nothing more than they need."""
    with FaultServer("vllm", max_length=512) as server:
        embeddings = QwenEmbeddings(**settings(server))
        embeddings.embed_documents(["a text"])
        first = len(server.requests)
        embeddings.embed_documents(["another text"])
        assert first > 10
        assert len(server.requests) == first + 1
        embeddings.close()


def test_a_pickled_client_keeps_the_check() -> None:
    """It travels with the settings, and the key does not."""
    with FaultServer("vllm", constant=True, max_length=512) as server:
        embedder = open_embedder(EmbedderSettings(**settings(server)), token="secret")  # noqa: S106
        written = pickle.dumps(embedder)
        assert b"secret" not in written
        again = pickle.loads(written)  # noqa: S301 - made just now
        with pytest.raises(ServerSetupError):
            again.embed_documents(["a text"])
        again.close()
        embedder.close()


@pytest.mark.parametrize(
    ("engine", "setup"),
    [
        ("vllm", {"matryoshka": False}),
        ("vllm", {"end": False}),
        ("vllm", {"default_prompt": "query: "}),
        ("sglang", {"matryoshka": False}),
        ("tei", {"renormalises": False}),
        ("tei", {"truncates": True}),
    ],
    ids=str,
)
def test_what_only_other_clients_meet_is_let_pass(engine: str, setup: dict[str, Any]) -> None:
    """The library sends token ids there, and cuts and scales by itself; the doctor tells it."""
    with FaultServer(engine, max_length=512, **setup) as server:
        report = examine(EmbedderSettings(**settings(server, check_server=False)), quick=True)
        embedder = open_embedder(EmbedderSettings(**settings(server)))
        assert embedder.embed_documents(["a text"]).shape == (1, 256)
        embedder.close()
    assert len(report.failed) == 1
    assert report.failed[0].others_only
    assert "this library is not affected" in report.failed[0].measured


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_a_reranker_that_is_started_without_a_template_is_let_pass(engine: str) -> None:
    """As the documentation recommends; llama-server's is used, so it is not."""
    wrong = RerankerSettings(model=str(TINY / "reranker"), server="llama_cpp", base_url="http://h")
    with FaultServer(engine, serves="reranker", template="none", max_length=512) as server:
        right = replace(wrong, server=engine, base_url=server.url, check_server=True)  # type: ignore[arg-type]
        reranker = open_reranker(right)
        assert len(reranker.rerank("q", ["a", "b"])) == 2
        reranker.close()


def test_a_server_that_cannot_be_asked_is_not_called_wrong() -> None:
    """Nobody there, another key, no answer in time, too busy: each is its own error."""
    nobody = {"model": str(TINY / "embedder"), "server": "vllm", "max_retries": 0}
    away = open_embedder(
        EmbedderSettings(**nobody, base_url="http://127.0.0.1:9", check_server=True)  # type: ignore[arg-type]
    )
    with pytest.raises(ServerUnreachableError):
        away.embed_documents(["a text"])
    away.close()
    with FaultServer("vllm", api_key="sk-right", max_length=512) as server:
        for act, token, error in (
            (None, "sk-wrong", ServerAccessError),
            (faults.delay(4), "sk-right", ServerTimeoutError),
            (faults.status(503), "sk-right", ServerRefusedError),
        ):
            if act is not None:
                server.inject(act, times=1)
            more = {"max_retries": 0, "timeout": 1.5}
            embedder = open_embedder(EmbedderSettings(**settings(server, **more)), token=token)
            with pytest.raises(error):
                embedder.embed_documents(["a text"])
            embedder.close()
            server.heal()


def test_without_the_setting_nothing_is_examined() -> None:
    """It is opt-in."""
    with FaultServer("vllm", end=False) as server:
        embedder = open_embedder(EmbedderSettings(**settings(server, check_server=False)))
        embedder.embed_documents(["a text"])
        assert len(server.requests) <= 2
        embedder.close()


def test_it_takes_true_or_false() -> None:
    """A value that is neither is refused."""
    with pytest.raises(SettingsError, match="check_server"):
        EmbedderSettings(check_server="yes")  # type: ignore[arg-type]
