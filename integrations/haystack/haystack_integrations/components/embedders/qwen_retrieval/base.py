"""What the text and the document embedder share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from haystack_integrations.common.qwen_retrieval.base import ModelComponent
from qwen_retrieval import Embedder, EmbedderSettings, open_embedder
from qwen_retrieval.catalog import DEFAULT_EMBEDDER
from qwen_retrieval.settings import PrefixedQuery, Ranges, VectorType
from qwen_retrieval.vectors import quantize

if TYPE_CHECKING:
    from qwen_retrieval.contract import Vectors


@dataclass(kw_only=True, eq=False)
class EmbedderComponent(ModelComponent[EmbedderSettings, Embedder]):
    """A component around an embedder, with the parameters of `EmbedderSettings`."""

    settings_type = EmbedderSettings
    open_model = staticmethod(open_embedder)

    model: str = DEFAULT_EMBEDDER
    query_instruction: str | None = None
    query_prompt: str | None = None
    document_prompt: str | None = None
    prefixed_query: PrefixedQuery = "refuse"
    dimensions: int | None = None
    normalize: bool = True
    vector_type: VectorType = "float32"
    vector_ranges: Ranges | None = None

    def _lists(self, vectors: Vectors) -> list[Any]:
        codes = quantize(vectors, self.settings.vector_type, self.settings.vector_ranges)
        return [row.tolist() for row in codes]  # row by row, so that a thread can be interrupted

    def _try(self, model: Embedder) -> None:
        model.embed_documents([""])

    async def _atry(self, model: Embedder) -> None:
        await model.aembed_documents([""])
