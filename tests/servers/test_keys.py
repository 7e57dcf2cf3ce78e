"""Which key a server gets, and that nobody else does."""

from __future__ import annotations

import pickle
import traceback
import warnings
from collections.abc import Callable
from typing import Any

import pytest

from needs import need
from qwen_retrieval import EmbedderSettings, open_embedder
from qwen_retrieval.errors import (
    QwenRetrievalError,
    ServerAnswerError,
    ServerRefusedError,
    SettingsError,
)
from qwen_retrieval.servers import handle
from qwen_retrieval.servers.words import MESSAGE_BYTES
from servers import faults
from servers.clients import open_client
from servers.engines import Reply
from servers.fault_server import FaultServer
from servers.wire import Exchange

SECRET = "sk-of-the-user"  # noqa: S105 - none
AT = {"base_url": "http://127.0.0.1:9"}
VARIABLES = ("QWEN_RETRIEVAL_API_KEY", "OPENAI_API_KEY", "DASHSCOPE_API_KEY", "JINA_API_KEY")


@pytest.fixture(autouse=True)
def no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """None in the environment."""
    for name in (*VARIABLES, "HF_TOKEN", "HF_API_TOKEN"):
        monkeypatch.delenv(name, raising=False)


def key(server: str, token: str | None = None) -> str | None:
    """Return the key that such a client sends."""
    opened = open_embedder(EmbedderSettings(server=server, **AT), token=token)
    found: str | None = opened._transport._key
    return found


def test_an_argument_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """And the library's own variable over that of the service."""
    assert key("openai") is None
    monkeypatch.setenv("OPENAI_API_KEY", "service")
    assert key("openai") == "service"
    monkeypatch.setenv("QWEN_RETRIEVAL_API_KEY", "own")
    assert key("openai") == "own"
    assert key("openai", "given") == "given"


def test_another_services_key_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server in the next room gets no key of a cloud."""
    for name in VARIABLES[1:]:
        monkeypatch.setenv(name, f"for {name}".replace(" ", "-"))
    assert key("vllm") is None
    assert key("openai") == "for-OPENAI_API_KEY"
    assert key("dashscope") == "for-DASHSCOPE_API_KEY"


@pytest.mark.parametrize("bad", ["", "two words", "line\nbreak", "ключ"])
def test_what_is_no_key_is_refused_and_not_repeated(bad: str) -> None:
    """It would break the header, or show in the error of a library."""
    with pytest.raises(SettingsError, match="as it was issued") as caught:
        key("vllm", bad)
    assert not bad or bad not in str(caught.value)


def test_a_key_is_in_no_pickle_and_no_text() -> None:
    """Only settings travel."""
    opened = open_embedder(EmbedderSettings(server="vllm", **AT), token=SECRET)
    assert SECRET not in repr(opened) + str(vars(opened)["settings"])
    assert SECRET.encode() not in pickle.dumps(opened)
    again = pickle.loads(pickle.dumps(opened))  # noqa: S301 - our own
    assert again.settings == opened.settings
    assert again._transport._key is None


def test_the_server_gets_it_as_a_bearer() -> None:
    """And one that wants another says which setting to give."""
    with FaultServer("vllm", api_key=SECRET) as server:
        client = open_client(server, token=SECRET)
        assert client.embed_documents(["a"]).shape == (1, 256)
        client.close()
        wrong = open_client(server, token="sk-wrong")  # noqa: S106 - none
        with pytest.raises(PermissionError, match=r"status 401 .*token=.*QWEN_RETRIEVAL_API_KEY"):
            wrong.embed_documents(["a"])
        wrong.close()


def echoes(payload: Callable[[str], Any]) -> list[faults.Act]:
    """Return faults that answer 200 with the key, such that a cut may fall within it."""

    def act(beginning: str) -> faults.Act:
        return lambda exchange: exchange.send(Reply(200, payload(beginning + SECRET)))

    return [act("x" * length) for length in (0, *range(80, 300, 10))]


ECHOES: dict[str, Callable[[str], Any]] = {
    "no list": lambda words: {"error": {"message": words}},
    "index": lambda words: {"data": [{"index": words, "embedding": [1.0]}]},
    "no vector": lambda words: {"data": [{"index": 0, "text": words}]},
    "words": lambda words: {"data": [{"index": 0, "embedding": [1.0, words]}]},
    "a matrix of words": lambda words: {"data": [{"index": 0, "embedding": [["a", words], "b"]}]},
    "no base64": lambda words: {"data": [{"index": 0, "embedding": f"§{words}"}]},
    "a page": lambda words: words,
}


def tells(error: BaseException) -> bool:
    """Say whether an error or its causes tell the key, or half of it."""
    return SECRET[:6] in "".join(traceback.format_exception(error))


@pytest.mark.parametrize("what", ECHOES)
def test_an_answer_that_repeats_the_key_is_told_without_it(what: str) -> None:
    """Not even a half of it, wherever the answer is cut, nor in an error's causes."""
    with FaultServer("vllm") as server:
        client = open_client(server, token=SECRET)
        client.embed_documents(["a"])
        for act in echoes(ECHOES[what]):
            server.heal()
            server.inject(act)
            with pytest.raises(ServerAnswerError) as caught:
                client.embed_documents(["a"])
            assert not tells(caught.value)
        client.close()


@pytest.mark.parametrize(
    "payload", [{"error": SECRET}, {"data": [{"id": SECRET}, {"id": "b"}]}], ids=["error", "names"]
)
def test_a_listing_that_repeats_the_key_is_told_without_it(payload: Any) -> None:
    """One that cannot be read, and one that names other models."""
    with FaultServer("vllm") as server:
        server.inject(
            lambda exchange: exchange.send(Reply(200, payload)),
            only=lambda recorded: recorded.path == "/v1/models",
        )
        client = open_client(server, token=SECRET)
        with pytest.raises(QwenRetrievalError) as caught:
            client.embed_documents(["a"])
        assert not tells(caught.value)
        client.close()


def test_an_error_that_is_cut_within_the_key_is_told_without_its_half() -> None:
    """What is read of an error ends somewhere, and white space is not told."""

    def act(exchange: Exchange) -> None:
        words = " " * (MESSAGE_BYTES - 8) + SECRET + " " * 99
        exchange.send_bytes(words.encode(), 400)

    with FaultServer("vllm") as server:
        client = open_client(server, token=SECRET)
        server.inject(act)
        with pytest.raises(ServerRefusedError) as caught:
            client.embed_documents(["a"])
        assert not tells(caught.value)
        client.close()


def test_the_hubs_token_is_not_sent_by_haystack(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its default is the hub's, which a server has no business with."""
    need("haystack", "haystack")
    from haystack.utils import Secret

    from haystack_integrations.components.embedders.qwen_retrieval import QwenTextEmbedder

    monkeypatch.setenv("HF_TOKEN", "hf_of_the_user")
    monkeypatch.setenv("MY_KEY", "mine")
    at: dict[str, Any] = {"server": "vllm", **AT}
    component = QwenTextEmbedder(**at)
    assert component._open(component.settings)._transport._key is None
    again = QwenTextEmbedder.from_dict(component.to_dict())
    assert again._open(again.settings)._transport._key is None
    own = QwenTextEmbedder(**at, token=Secret.from_env_var("MY_KEY"))
    assert own._open(own.settings)._transport._key == "mine"


def test_the_hubs_token_is_not_read_into_a_servers_chain() -> None:
    """LangChain fills secrets by their names when it loads a chain."""
    need("langchain_core", "langchain")
    from langchain_core._api import LangChainBetaWarning
    from langchain_core.load import dumpd, load

    from langchain_qwen_retrieval import QwenEmbeddings

    made = QwenEmbeddings(server="vllm", token=SECRET, **AT)
    written = dumpd(made)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LangChainBetaWarning)  # of `load` itself
        again = load(
            written,
            allowed_objects=[QwenEmbeddings],
            valid_namespaces=["langchain_qwen_retrieval"],
            secrets_map={"HF_TOKEN": "hf_of_the_user"},
        )
    assert again.token is None
    assert SECRET not in str(written)


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """When it is opened, with what to install."""
    monkeypatch.setattr(handle, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"httpx and stamina: .*qwen-retrieval\[servers\]"):
        key("vllm")
