"""A server's models can be handed to mteb as those of this process can."""

from __future__ import annotations

from enum import Enum
from types import SimpleNamespace
from typing import Any

import numpy as np

from qwen_retrieval.instructions import PRESETS
from qwen_retrieval.mteb_protocols import NOT_IN_RESULTS
from servers.clients import open_client
from servers.fault_server import FaultServer

TASK = SimpleNamespace(name="SciFact", prompt=None)
CALL: dict[str, Any] = {"task_metadata": TASK, "hf_split": "test", "hf_subset": "default"}
TEXTS = ["which fruit is red?", "what is blue"]
BATCHES = [{"text": TEXTS}]


class PromptType(Enum):
    """As mteb's own."""

    query = "query"
    document = "document"


def test_an_embedder_and_a_reranker_of_a_server_answer_mteb() -> None:
    """With the task's published instruction on queries and none on documents."""
    task = PRESETS["SciFact"].query
    with FaultServer("vllm", serves="embedder") as server:
        embedder = open_client(server)
        queries = embedder.encode(BATCHES, prompt_type=PromptType.query, **CALL)
        documents = embedder.encode(BATCHES, prompt_type=PromptType.document, **CALL)
        assert np.allclose(queries, embedder.embed_queries(TEXTS, instruction=task), atol=1e-6)
        assert np.allclose(documents, embedder.embed_documents(TEXTS), atol=1e-6)
        assert not np.allclose(queries, documents, atol=1e-2)
        embedder.close()
    with FaultServer("vllm", serves="reranker") as server:
        reranker = open_client(server)
        scores = reranker.predict(BATCHES, BATCHES, **CALL)
        pairs = list(zip(TEXTS, TEXTS, strict=True))
        assert np.allclose(scores, reranker.score(pairs, instruction=task), atol=1e-6)
        assert reranker.settings.base_url == server.url
        reranker.close()


def test_results_do_not_name_the_server() -> None:
    """Where it is and how patiently it is asked says nothing of the model."""
    assert {"base_url", "timeout", "verify_tls", "max_retries"} <= NOT_IN_RESULTS
