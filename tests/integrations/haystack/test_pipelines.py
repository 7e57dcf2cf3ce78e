"""The components inside real pipelines: indexing, retrieval, reranking, prompt, tracing."""

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
from haystack import Document, Pipeline
from haystack.components.builders import ChatPromptBuilder
from haystack.components.generators.chat import MockChatGenerator
from haystack.components.retrievers import InMemoryEmbeddingRetriever
from haystack.components.writers import DocumentWriter
from haystack.core.errors import PipelineConnectError
from haystack.dataclasses import ChatMessage
from haystack.document_stores.in_memory import InMemoryDocumentStore
from haystack.tracing.tracer import Span, Tracer, disable_tracing, enable_tracing
from haystack.tracing.tracer import tracer as proxy

from haystack_integrations.components.embedders.qwen_retrieval import (
    QwenDocumentEmbedder,
    QwenTextEmbedder,
)
from haystack_integrations.components.rankers.qwen_retrieval import QwenRanker

from .conftest import Opened

QUESTION = "is the sky black at night?"


def indexing(store: Any) -> Pipeline:
    """Return a pipeline that embeds documents and writes them to a store."""
    pipeline = Pipeline()
    pipeline.add_component("embedder", QwenDocumentEmbedder())
    pipeline.add_component("writer", DocumentWriter(store))
    pipeline.connect("embedder.documents", "writer.documents")
    return pipeline


def querying(store: Any) -> Pipeline:
    """Return a pipeline from a question to an answer."""
    pipeline = Pipeline()
    template = "{% for d in documents %}[{{ d.id }}]{% endfor %} {{ query }}"
    for name, component in (
        ("embedder", QwenTextEmbedder()),
        ("retriever", InMemoryEmbeddingRetriever(store, top_k=3)),
        ("ranker", QwenRanker(top_k=2)),
        ("prompt", ChatPromptBuilder([ChatMessage.from_user(template)], ["documents", "query"])),
        ("generator", MockChatGenerator()),
    ):
        pipeline.add_component(name, component)
    pipeline.connect("embedder.embedding", "retriever.query_embedding")
    pipeline.connect("retriever.documents", "ranker.documents")
    pipeline.connect("ranker.documents", "prompt.documents")
    pipeline.connect("prompt.prompt", "generator.messages")
    return pipeline


def question(**ranker: Any) -> dict[str, Any]:
    """Return the inputs of `querying`."""
    return {
        "embedder": {"text": QUESTION},
        "ranker": {"query": QUESTION, **ranker},
        "prompt": {"query": QUESTION},
    }


def test_question_is_answered_from_the_best_documents(
    opened: Opened, documents: list[Document]
) -> None:
    """Index, retrieve, rerank, prompt and answer; then the same with inputs of the call."""
    store = InMemoryDocumentStore()
    assert indexing(store).run({"embedder": {"documents": documents}})["writer"] == {
        "documents_written": 4
    }
    pipeline = querying(store)
    found = pipeline.run(question(), include_outputs_from={"ranker", "retriever"})
    assert found["generator"]["replies"][0].text == f"[night][sky] {QUESTION}"
    retrieved = {document.id: document.score for document in found["retriever"]["documents"]}
    best = found["ranker"]["documents"][0]
    assert best.meta["retrieval_score"] == retrieved["night"] != best.score
    assert pipeline.run(question(top_k=1))["generator"]["replies"][0].text == f"[night] {QUESTION}"


async def test_async_pipelines_use_the_coroutines_and_agree(
    opened: Opened, documents: list[Document]
) -> None:
    """`Pipeline.run_async` never falls back to a thread around `run`."""
    store, sync_store = InMemoryDocumentStore(), InMemoryDocumentStore()
    await indexing(store).run_async({"embedder": {"documents": documents}})
    found = await querying(store).run_async(question())
    called = {name for model in opened for name in model.called}
    assert {"aembed_documents", "aembed_queries", "arerank"} <= called
    indexing(sync_store).run({"embedder": {"documents": documents}})
    expected = querying(sync_store).run(question())
    assert found["generator"]["replies"][0].text == expected["generator"]["replies"][0].text


def test_wrong_connections_are_refused_when_the_pipeline_is_built() -> None:
    """The sockets have types: a list of documents is no text."""
    pipeline = Pipeline()
    pipeline.add_component("documents", QwenDocumentEmbedder())
    pipeline.add_component("text", QwenTextEmbedder())
    with pytest.raises(PipelineConnectError):
        pipeline.connect("documents.documents", "text.text")


class _Span(Span):
    def __init__(self, name: str, tags: dict[str, Any] | None) -> None:
        self.name, self.tags = name, dict(tags or {})

    def set_tag(self, key: str, value: Any) -> None:
        self.tags[key] = value


class _Tracer(Tracer):
    def __init__(self) -> None:
        self.spans: list[_Span] = []

    @contextlib.contextmanager
    def trace(
        self, operation_name: str, tags: dict[str, Any] | None = None, parent_span: Any = None
    ) -> Iterator[Span]:
        self.spans.append(_Span(operation_name, tags))
        yield self.spans[-1]

    def current_span(self) -> Span | None:
        return self.spans[-1] if self.spans else None


@pytest.fixture
def tracer() -> Iterator[_Tracer]:
    """Record spans, contents included."""
    tracer = _Tracer()
    enable_tracing(tracer)
    proxy.is_content_tracing_enabled = True
    yield tracer
    proxy.is_content_tracing_enabled = False
    disable_tracing()


@pytest.mark.parametrize("is_async", [False, True])
async def test_each_stage_has_a_span_with_its_input_and_output(
    opened: Opened, documents: list[Document], tracer: _Tracer, *, is_async: bool
) -> None:
    """A tracer that is on sees both stages, sync and async."""
    store = InMemoryDocumentStore()
    indexing(store).run({"embedder": {"documents": documents}})
    pipeline = querying(store)
    await pipeline.run_async(question()) if is_async else pipeline.run(question())
    spans = {
        span.tags["haystack.component.type"]: span.tags
        for span in tracer.spans
        if span.name == "haystack.component.run"
    }
    assert {"QwenDocumentEmbedder", "QwenTextEmbedder", "QwenRanker"} <= set(spans)
    assert spans["QwenTextEmbedder"]["haystack.component.input"]["text"] == QUESTION
    ranked = spans["QwenRanker"]["haystack.component.output"]["documents"]
    assert [document.id for document in ranked] == ["night", "sky"]
