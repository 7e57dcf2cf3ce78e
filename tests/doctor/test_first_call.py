"""`check_server=True`: a wrong set-up is found out before the first call, and only once."""

from __future__ import annotations

import asyncio
import pickle
from typing import Any

import pytest

from langchain_qwen_retrieval import QwenEmbeddings
from qwen_retrieval import EmbedderSettings, open_embedder
from qwen_retrieval.errors import ServerSetupError, SettingsError
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
    with FaultServer("vllm", end=False, max_length=512) as server:
        embedder = open_embedder(EmbedderSettings(**settings(server)))
        with pytest.raises(ServerSetupError, match=r"EOS: .* --tokenizer .*check_server=False"):
            embedder.embed_documents(["a text"])
        with pytest.raises(ServerSetupError, match="EOS"):
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
    with FaultServer("vllm", end=False, max_length=512) as server:
        embedder = open_embedder(EmbedderSettings(**settings(server)), token="secret")  # noqa: S106
        written = pickle.dumps(embedder)
        assert b"secret" not in written
        again = pickle.loads(written)  # noqa: S301 - made just now
        with pytest.raises(ServerSetupError):
            again.embed_documents(["a text"])
        again.close()
        embedder.close()


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
