"""Recorded doubles, recorded events, and a few nodes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from llama_index.core.bridge.pydantic import Field
from llama_index.core.callbacks.base_handler import BaseCallbackHandler
from llama_index.core.callbacks.schema import CBEventType
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.schema import NodeWithScore, TextNode

from qwen_retrieval.testing import FakeEmbedder, FakeReranker

TINY = Path(__file__).parents[2] / "tiny"


@pytest.fixture
def tiny_embedder() -> str:
    """Folder of the small trained embedder."""
    return str(TINY / "embedder")


@pytest.fixture
def tiny_reranker() -> str:
    """Folder of the small trained reranker."""
    return str(TINY / "reranker")


@pytest.fixture
def embedders(monkeypatch: pytest.MonkeyPatch) -> list[FakeEmbedder]:
    """Every embedder opened during the test, all doubles, in the order of opening."""
    opened: list[FakeEmbedder] = []

    def open_double(*args: Any, **kwargs: Any) -> FakeEmbedder:
        opened.append(FakeEmbedder(*args, **kwargs))
        opened[-1].given = kwargs  # type: ignore[attr-defined] # what the adapter handed over
        return opened[-1]

    monkeypatch.setattr("qwen_retrieval.local.embedder.LocalEmbedder", open_double)
    return opened


@pytest.fixture
def rerankers(monkeypatch: pytest.MonkeyPatch) -> list[FakeReranker]:
    """Every reranker opened during the test, all doubles, in the order of opening."""
    opened: list[FakeReranker] = []

    def open_double(*args: Any, **kwargs: Any) -> FakeReranker:
        opened.append(FakeReranker(*args, **kwargs))
        opened[-1].given = kwargs  # type: ignore[attr-defined] # what the adapter handed over
        return opened[-1]

    monkeypatch.setattr("qwen_retrieval.local.reranker.LocalReranker", open_double)
    return opened


class RecordedEvents(BaseEventHandler):
    """Holds what LlamaIndex's instrumentation reports."""

    events: list[Any] = Field(default_factory=list)

    def handle(self, event: Any, **kwargs: Any) -> None:
        """Note the event."""
        self.events.append(event)

    def of(self, word: str) -> list[Any]:
        """Return the events with the word in their class's name."""
        return [event for event in self.events if word in event.class_name()]


class RecordedCallbacks(BaseCallbackHandler):
    """Holds what LlamaIndex's callback manager reports of one kind of event."""

    def __init__(self, kind: CBEventType) -> None:
        super().__init__([], [])
        self.kind = kind
        self.started: dict[str, Any] = {}
        self.ended: dict[str, Any] = {}

    def on_event_start(
        self,
        event_type: CBEventType,
        payload: dict[str, Any] | None = None,
        event_id: str = "",
        parent_id: str = "",
        **kwargs: Any,
    ) -> str:
        """Note the start."""
        if event_type == self.kind:
            self.started[event_id] = payload
        return event_id

    def on_event_end(
        self,
        event_type: CBEventType,
        payload: dict[str, Any] | None = None,
        event_id: str = "",
        **kwargs: Any,
    ) -> None:
        """Note the end."""
        if event_type == self.kind:
            self.ended[event_id] = payload

    def start_trace(self, trace_id: str | None = None) -> None:
        """Traces are not looked at."""

    def end_trace(
        self, trace_id: str | None = None, trace_map: dict[str, list[str]] | None = None
    ) -> None:
        """Traces are not looked at."""


@pytest.fixture
def events() -> Iterator[RecordedEvents]:
    """Everything that the instrumentation reports during the test."""
    recorded = RecordedEvents()
    root = get_dispatcher()
    root.add_event_handler(recorded)
    yield recorded
    root.event_handlers.remove(recorded)


@pytest.fixture
def callbacks() -> type[RecordedCallbacks]:
    """Callback handlers that record one kind of event."""
    return RecordedCallbacks


@pytest.fixture
def nodes() -> list[NodeWithScore]:
    """Retrieved nodes, of which the last answers "how do cats sleep"."""
    texts = ("rivers run to the sea", "dogs sleep", "how cats sleep")
    return [
        NodeWithScore(node=TextNode(id_=f"n{place}", text=text), score=0.9 - place / 10)
        for place, text in enumerate(texts)
    ]
