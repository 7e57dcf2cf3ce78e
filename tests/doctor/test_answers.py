"""Answers that are none, or none that was asked for, are told and do not end the examination."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from qwen_retrieval import RerankerSettings, open_embedder
from qwen_retrieval.doctor import Report, examine, golden
from qwen_retrieval.errors import ServerSetupError
from servers.engines import Reply
from servers.fault_server import FaultServer
from servers.wire import Exchange, Recorded

from .conftest import settings_for

KEY = "sk-of-the-user"

ANSWERS: dict[str, Any] = {
    "an error": {"error": {"message": f"no such thing for {KEY}"}},
    "null": {"data": [{"index": 0, "embedding": None}]},
    "one too few": {"data": []},
}


def answering(server: FaultServer, payload: Any, path: str) -> None:
    """Let a path answer so, with status 200."""

    def act(exchange: Exchange) -> None:
        exchange.send(Reply(200, payload))

    def only(recorded: Recorded) -> bool:
        return recorded.path == path

    server.inject(act, only=only)


def statuses(report: Report) -> dict[str, str]:
    """Return what became of each check."""
    return {each.check: each.status for each in report.findings}


@pytest.mark.parametrize("what", ANSWERS)
def test_an_answer_that_cannot_be_read_fails_the_check(what: str) -> None:
    """With its words, but without the key."""
    with FaultServer("vllm", max_length=512) as server:
        answering(server, ANSWERS[what], "/v1/embeddings")
        settings = settings_for("embedder", "vllm", server.url)
        report = examine(settings, quick=True, token=KEY)
        client = open_embedder(replace(settings, check_server=True), token=KEY)
        with pytest.raises(ServerSetupError, match="embedder: a wrong answer: "):
            client.embed_documents(["a"])
        client.close()
    assert [each.check for each in report.failed] == ["embedder"]
    assert KEY not in report.to_json()


@pytest.mark.parametrize("info", [{"model_id": "m"}, {"model_id": "m", "model_type": "x"}])
def test_a_server_that_does_not_tell_its_pooling_is_compared(info: Any) -> None:
    """As one of another version."""
    with FaultServer("tei", max_length=512) as server:
        answering(server, info, "/info")
        report = examine(settings_for("embedder", "tei", server.url), quick=True)
    assert statuses(report)["pooling"] == "skip"


def test_a_probe_that_the_settings_leave_no_room_for_is_left_out() -> None:
    """The server is not to blame for it."""
    with FaultServer("vllm", serves="reranker", max_length=512) as server:
        settings = settings_for("reranker", "vllm", server.url)
        assert isinstance(settings, RerankerSettings)
        report = examine(replace(settings, max_length=60), quick=True)
    assert "skip" in statuses(report).values()
    assert "reranker" not in [each.check for each in report.failed], report.to_json()


@pytest.mark.parametrize(("server", "status"), [("vllm", "fail"), ("dashscope", "skip")])
def test_a_services_own_model_is_not_held_against_another(
    server: str, status: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is published of the checkpoint says nothing of what the service has."""
    apart = golden.Similarities(("a question",), ("a text",), np.array([[7.0]], np.float32))
    monkeypatch.setattr(golden, "similarities", lambda _: apart)
    with FaultServer(server, max_length=512) as running:
        report = examine(settings_for("embedder", server, running.url), quick=True)
    assert statuses(report)["same model"] == status, report.to_json()
    assert running.url in report.subject
