"""Queries to vectors."""

from dataclasses import dataclass

from haystack import component

from .base import EmbedderComponent


@component
@dataclass(kw_only=True, eq=False)
class QwenTextEmbedder(EmbedderComponent):
    """Gives a query's vector, with the instruction the model was trained for.

    Takes every field of `qwen_retrieval.EmbedderSettings` under its own name, and `token`. Use
    `QwenDocumentEmbedder` with the same parameters for the documents::

        pipeline.add_component("query", QwenTextEmbedder(dimensions=256))
        pipeline.connect("query.embedding", "retriever.query_embedding")
    """

    @component.output_types(embedding=list[float])
    def run(self, text: str, instruction: str | None = None) -> dict[str, list[float]]:
        """Return ``{"embedding": [...]}``; `instruction` replaces the one from init, "" none."""
        model = self._open(self.settings)
        vectors = model.embed_queries([text], instruction=instruction)
        return {"embedding": self._lists(vectors)[0]}

    @component.output_types(embedding=list[float])
    async def run_async(self, text: str, instruction: str | None = None) -> dict[str, list[float]]:
        """Return what `run` returns, without blocking the event loop."""
        model = self._open(self.settings)
        vectors = await model.aembed_queries([text], instruction=instruction)
        return {"embedding": self._lists(vectors)[0]}
