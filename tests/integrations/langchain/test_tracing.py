"""What LangChain's callbacks see of a two-stage retriever."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from langchain_classic.retrievers import ContextualCompressionRetriever
from langchain_classic.retrievers.document_compressors import DocumentCompressorPipeline
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.documents import Document
from langchain_core.vectorstores import InMemoryVectorStore

from langchain_qwen_retrieval import QwenEmbeddings, QwenReranker
from qwen_retrieval.errors import ClosedError

pytestmark = pytest.mark.usefixtures("doubled")


class Recorder(BaseCallbackHandler):
    """Keeps what begins and ends, with the name of the run and of its parent."""

    def __init__(self) -> None:
        self.names: dict[UUID | None, str] = {None: "-"}
        self.events: list[tuple[str, str, str]] = []
        self.inputs: list[Any] = []
        self.outputs: list[Any] = []

    def begin(self, run_id: UUID, parent: UUID | None, name: str) -> None:
        """Note that a run begins, below its parent."""
        self.names[run_id] = name
        self.events.append(("begin", name, self.names[parent]))

    def end(self, run_id: UUID, how: str = "end") -> None:
        """Note how a run ends."""
        self.events.append((how, self.names[run_id], ""))

    def on_retriever_start(self, serialized: Any, query: str, **kwargs: Any) -> None:
        """Note it."""
        self.begin(kwargs["run_id"], kwargs["parent_run_id"], kwargs["name"])

    def on_retriever_end(self, documents: Any, **kwargs: Any) -> None:
        """Note it."""
        self.end(kwargs["run_id"])

    def on_retriever_error(self, error: BaseException, **kwargs: Any) -> None:
        """Note it."""
        self.end(kwargs["run_id"], type(error).__name__)

    def on_chain_start(self, serialized: Any, inputs: Any, **kwargs: Any) -> None:
        """Note it, and what the run is given."""
        self.inputs.append(inputs)
        self.begin(kwargs["run_id"], kwargs["parent_run_id"], kwargs["name"])

    def on_chain_end(self, outputs: Any, **kwargs: Any) -> None:
        """Note it, and what the run gives."""
        self.outputs.append(outputs)
        self.end(kwargs["run_id"])

    def on_chain_error(self, error: BaseException, **kwargs: Any) -> None:
        """Note it."""
        self.end(kwargs["run_id"], type(error).__name__)


OUTER, INNER = "ContextualCompressionRetriever", "VectorStoreRetriever"
EVENTS = [
    ("begin", OUTER, "-"),
    ("begin", INNER, OUTER),
    ("end", INNER, ""),
    ("begin", "QwenReranker", OUTER),
    ("end", "QwenReranker", ""),
    ("end", OUTER, ""),
]


def retriever(reranker: QwenReranker) -> ContextualCompressionRetriever:
    """Return both stages over three documents."""
    store = InMemoryVectorStore.from_texts(["a cat", "a dog", "a black cat"], QwenEmbeddings())
    return ContextualCompressionRetriever(
        base_compressor=reranker, base_retriever=store.as_retriever()
    )


async def test_the_reranker_is_a_run_beside_the_first_stage() -> None:
    """Its input is the query and what was retrieved, its output what is kept, with scores."""
    reranker = QwenReranker(top_n=2)
    for is_async in (False, True):
        recorder = Recorder()
        config: Any = {"callbacks": [recorder]}
        two_stages = retriever(reranker)
        if is_async:
            found = await two_stages.ainvoke("black cat", config)
        else:
            found = two_stages.invoke("black cat", config)
        assert recorder.events == EVENTS
        [given], [kept] = recorder.inputs, recorder.outputs
        assert given["query"] == "black cat"
        assert len(given["documents"]) == 3
        assert kept == found
        assert [0 < document.metadata["relevance_score"] < 1 for document in kept] == [True, True]


async def test_a_failing_reranker_ends_its_run_with_the_error() -> None:
    """Begin and end are balanced, and the error is the core's."""
    reranker = QwenReranker()
    reranker.close()
    for is_async in (False, True):
        recorder = Recorder()
        config: Any = {"callbacks": [recorder]}
        two_stages = retriever(reranker)
        with pytest.raises(ClosedError):
            await two_stages.ainvoke("cat", config) if is_async else two_stages.invoke(
                "cat", config
            )
        assert recorder.events[3:] == [
            ("begin", "QwenReranker", OUTER),
            ("ClosedError", "QwenReranker", ""),
            ("ClosedError", OUTER, ""),
        ]


def test_no_documents_give_a_balanced_run() -> None:
    """An empty list begins and ends a run as well."""
    recorder = Recorder()
    assert QwenReranker().compress_documents([], "cat", callbacks=[recorder]) == []
    assert recorder.events == [("begin", "QwenReranker", "-"), ("end", "QwenReranker", "")]


async def test_events_stream_from_the_reranker() -> None:
    """`astream_events` shows the second stage by its name."""
    names = [
        (event["event"], event["name"])
        async for event in retriever(QwenReranker()).astream_events("cat", version="v2")
    ]
    assert ("on_chain_start", "QwenReranker") in names
    assert ("on_chain_end", "QwenReranker") in names


async def test_the_reranker_works_in_a_pipeline_of_compressors() -> None:
    """Another compressor may come before or after it."""
    pipeline = DocumentCompressorPipeline(
        transformers=[QwenReranker(top_n=2), QwenReranker(top_n=1)]
    )
    documents = [Document("a dog"), Document("a black cat"), Document("a cat")]
    [first] = pipeline.compress_documents(documents, "black cat")
    [second] = await pipeline.acompress_documents(documents, "black cat")
    assert first.page_content == second.page_content == "a black cat"
