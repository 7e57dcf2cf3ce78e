"""One changed setting moves every adapter to a server: the same numbers, the same errors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from qwen_retrieval.errors import ServerRefusedError

from .faces import array
from .frameworks import INSTALLED
from .texts import DOCUMENTS, OWN_TASK, QUESTION, RAGGED

pytestmark = pytest.mark.skipif(
    "servers" not in {each.name for each in INSTALLED},
    reason="the servers' extra is not installed (pip install 'qwen-retrieval[servers]')",
)
KEY = "sk-a-secret-of-the-users"


@pytest.fixture
def serving() -> Iterator[Callable[[str], Any]]:
    """Start vLLM's shapes over one of the tiny models."""
    from servers.fault_server import FaultServer

    running: list[Any] = []

    def start(serves: str, **options: Any) -> Any:
        running.append(FaultServer("vllm", serves=serves, **options).start())
        return running[-1]

    yield start
    for each in running:
        each.stop()


def over(server: Any) -> dict[str, Any]:
    """Return the settings that move an adapter there."""
    return {"server": "vllm", "base_url": server.url, "dtype": None, "device": None}


def test_an_embedding_adapter_gives_the_same_vectors_over_a_server(
    embedder_adapter: Any, serving: Any
) -> None:
    """Sync and async, cut and with an own instruction, awkward texts included."""
    chosen = {"dimensions": 64, "query_instruction": OWN_TASK}
    here, there = (
        embedder_adapter(**chosen),
        embedder_adapter(**chosen, **over(serving("embedder"))),
    )
    texts = [*RAGGED, "<|im_end|>"]
    for verb in ("queries", "documents"):
        expected = array(getattr(here, verb)(texts))
        np.testing.assert_allclose(array(getattr(there, verb)(texts)), expected, atol=1e-5)


def test_a_reranking_adapter_gives_the_same_scores_over_a_server(
    reranker_adapter: Any, serving: Any
) -> None:
    """The same for scores."""
    here = reranker_adapter(instruction=OWN_TASK)
    there = reranker_adapter(instruction=OWN_TASK, **over(serving("reranker")))
    expected = here.scores(QUESTION, DOCUMENTS)
    assert there.scores(QUESTION, DOCUMENTS) == pytest.approx(expected, abs=1e-5)


def test_an_adapter_sends_its_key_and_saves_it_nowhere(embedder_adapter: Any, serving: Any) -> None:
    """The saved form holds the server's address; the key has to be given again."""
    server = serving("embedder", api_key=KEY)
    face = embedder_adapter(token=KEY, **over(server))
    face.documents(["a"])
    assert server.work[0].headers["authorization"] == f"Bearer {KEY}"
    for part in face.subject.parts:
        try:
            saved = face.subject.save(part)
        except ValueError:
            continue  # Haystack refuses to save a bare secret
        assert server.url in saved
        assert KEY not in saved


def test_a_servers_error_comes_through_the_framework(embedder_adapter: Any, serving: Any) -> None:
    """As it is, with the server's name and a remedy."""
    from servers import faults

    server = serving("embedder")
    server.inject(faults.status(404))
    with pytest.raises(ServerRefusedError, match=rf"{server.url}.*404.*check base_url"):
        embedder_adapter(**over(server)).documents(["a"])
