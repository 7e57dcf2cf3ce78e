"""Ask the documentation of Python's standard library in plain words, with Haystack.

    python haystack_stdlib.py --question "how do I copy a file together with its permissions"

One pipeline embeds the entries and writes them to Haystack's own document store. Another embeds the
question, takes the nearest entries, reranks them, and hands the best to a language model.
"""

from __future__ import annotations

from typing import Any

from haystack import Document, Pipeline
from haystack.components.builders import ChatPromptBuilder
from haystack.components.generators.chat import MockChatGenerator
from haystack.components.retrievers import InMemoryEmbeddingRetriever
from haystack.components.writers import DocumentWriter
from haystack.dataclasses import ChatMessage
from haystack.document_stores.in_memory import InMemoryDocumentStore

from demo import DemoSettings, Hit, documents, main
from haystack_integrations.components.embedders.qwen_retrieval import (
    QwenDocumentEmbedder,
    QwenTextEmbedder,
)
from haystack_integrations.components.rankers.qwen_retrieval import QwenRanker

PROMPT = """Answer from these entries:
----
{% for document in documents %}{{ document.content }}

{% endfor %}----
{{ query }}"""


def echo(messages: list[ChatMessage]) -> str:
    """Answer with the context's first paragraph: a stand-in that needs no key and no weights."""
    return str(messages[-1].text).split("----\n")[1].split("\n\n")[0]


def run(settings: DemoSettings) -> tuple[list[Hit], str]:
    """Return the reranked entries, best first, and the answer of the pipeline."""
    shared: dict[str, Any] = {
        "device": settings.device,
        "dtype": settings.dtype,
        "progress_bar": settings.progress_bar,
    }
    embedder = {"model": settings.embedder, "dimensions": settings.dimensions, **shared}
    store = InMemoryDocumentStore(embedding_similarity_function="cosine")

    index = Pipeline()
    index.add_component("embedder", QwenDocumentEmbedder(**embedder))
    index.add_component("writer", DocumentWriter(store))
    index.connect("embedder.documents", "writer.documents")
    entries = [Document(id=entry.id, content=entry.text) for entry in documents(settings)]
    index.run({"embedder": {"documents": entries}})

    ask = Pipeline()
    ask.add_component("embedder", QwenTextEmbedder(**embedder))
    ask.add_component("retriever", InMemoryEmbeddingRetriever(store, top_k=settings.retrieve))
    ask.add_component("ranker", QwenRanker(model=settings.reranker, top_k=settings.keep, **shared))
    ask.add_component("prompt", ChatPromptBuilder([ChatMessage.from_user(PROMPT)]))
    model = MockChatGenerator(response_fn=echo)  # <- put a real model here: OllamaChatGenerator()
    ask.add_component("model", model)
    ask.connect("embedder.embedding", "retriever.query_embedding")
    ask.connect("retriever.documents", "ranker.documents")
    ask.connect("ranker.documents", "prompt.documents")
    ask.connect("prompt.prompt", "model.messages")

    found = ask.run(
        {
            "embedder": {"text": settings.question},
            "ranker": {"query": settings.question},
            "prompt": {"query": settings.question},
        },
        include_outputs_from={"ranker"},
    )
    hits = [
        Hit(document.id, document.score, document.content)
        for document in found["ranker"]["documents"]
    ]
    return hits, found["model"]["replies"][0].text


if __name__ == "__main__":
    main(run)
