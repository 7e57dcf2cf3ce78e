"""Ask the documentation of Python's standard library in plain words, with LlamaIndex.

    python llama_index_stdlib.py --question "how do I copy a file together with its permissions"

A query engine embeds the question, takes the nearest entries from LlamaIndex's own vector store,
reranks them, and hands the best to a language model.
"""

from __future__ import annotations

from typing import Any

from llama_index.core import VectorStoreIndex
from llama_index.core.base.llms.types import CompletionResponseGen
from llama_index.core.llms import CompletionResponse, CustomLLM, LLMMetadata
from llama_index.core.schema import TextNode

from demo import DemoSettings, Hit, documents, main
from llama_index.embeddings.qwen_retrieval import QwenEmbedding
from llama_index.postprocessor.qwen_retrieval import QwenRerank


class EchoLLM(CustomLLM):
    """Answers with the first paragraph of its context: needs no key and no weights."""

    @property
    def metadata(self) -> LLMMetadata:
        """Say that all entries fit into one prompt."""
        return LLMMetadata(context_window=1_000_000)

    def complete(self, prompt: str, *args: Any, **kwargs: Any) -> CompletionResponse:  # noqa: ANN401, ARG002 - LlamaIndex's own
        """Return the paragraph; LlamaIndex's prompt puts dashes before and after the context."""
        context = prompt.split("---------------------\n")[1]
        return CompletionResponse(text=context.split("\n\n")[0].strip())

    def stream_complete(self, prompt: str, *args: Any, **kwargs: Any) -> CompletionResponseGen:  # noqa: ANN401 - LlamaIndex's own
        """Yield the answer in one piece."""
        yield self.complete(prompt, *args, **kwargs)


def run(settings: DemoSettings) -> tuple[list[Hit], str]:
    """Return the reranked entries, best first, and the answer of the query engine."""
    shared: dict[str, Any] = {
        "device": settings.device,
        "dtype": settings.dtype,
        "progress_bar": settings.progress_bar,
    }
    embedding = QwenEmbedding(model=settings.embedder, dimensions=settings.dimensions, **shared)
    reranker = QwenRerank(model=settings.reranker, top_n=settings.keep, **shared)
    index = VectorStoreIndex(
        [TextNode(id_=entry.id, text=entry.text) for entry in documents(settings)],
        embed_model=embedding,
    )
    engine = index.as_query_engine(
        llm=EchoLLM(),  # <- put a real model here, for example Ollama(model="qwen3:4b")
        similarity_top_k=settings.retrieve,
        node_postprocessors=[reranker],
    )
    response = engine.query(settings.question)
    hits = [
        Hit(found.node_id, found.get_score(), found.get_content())
        for found in response.source_nodes
    ]
    return hits, str(response)


if __name__ == "__main__":
    main(run)
