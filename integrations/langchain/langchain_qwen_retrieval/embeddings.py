"""`QwenEmbeddings`: vectors for LangChain's vector stores."""

from __future__ import annotations

from typing import TYPE_CHECKING

from langchain_core.embeddings import Embeddings
from langchain_core.runnables import run_in_executor

from langchain_qwen_retrieval._model import QwenModel
from qwen_retrieval import Embedder, EmbedderSettings, open_embedder
from qwen_retrieval.catalog import DEFAULT_EMBEDDER
from qwen_retrieval.settings import PrefixedQuery, Ranges, VectorType

if TYPE_CHECKING:
    from qwen_retrieval.contract import Vectors


class QwenEmbeddings(QwenModel, Embeddings):
    """Vectors of texts: queries carry the instruction, documents do not.

    The fields are those of `qwen_retrieval.EmbedderSettings`, which describes them, and ``token``
    for private repositories. Nothing is loaded before the first call::

        embeddings = QwenEmbeddings(model="Qwen/Qwen3-Embedding-0.6B", dimensions=256)
        store = InMemoryVectorStore.from_texts(["…"], embeddings)

    Raises:
        SettingsError: a value is out of its range, with the range named.
    """

    settings_type = EmbedderSettings

    model: str = DEFAULT_EMBEDDER
    query_instruction: str | None = None
    query_prompt: str | None = None
    document_prompt: str | None = None
    prefixed_query: PrefixedQuery = "refuse"
    dimensions: int | None = None
    normalize: bool = True
    vector_type: VectorType = "float32"
    vector_ranges: Ranges | None = None

    @property
    def settings(self) -> EmbedderSettings:
        """What the embedder is opened with; its ``identity()`` belongs beside a stored index."""
        return self._from_fields(EmbedderSettings)

    @property
    def cache_namespace(self) -> str:
        """Namespace for ``CacheBackedEmbeddings``: another one whenever vectors would differ.

        It does not tell queries from documents; `QueryCache` does.
        """
        return self.settings.fingerprint()

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Return a vector for each document."""
        return self._lists(self._model.embed_documents(texts))

    def embed_query(self, text: str, *, instruction: str | None = None) -> list[float]:
        """Return the query's vector; ``instruction`` replaces the one in the settings."""
        return self._lists(self._model.embed_queries([text], instruction=instruction))[0]

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """Return what `embed_documents` returns, without blocking the event loop."""
        vectors = await (await self._aopened()).aembed_documents(texts)
        # A thousand wide vectors take long enough to become lists that the loop would notice.
        return await run_in_executor(None, self._lists, vectors)

    async def aembed_query(self, text: str, *, instruction: str | None = None) -> list[float]:
        """Return what `embed_query` returns, without blocking the event loop."""
        model = await self._aopened()
        return self._lists(await model.aembed_queries([text], instruction=instruction))[0]

    def _lists(self, vectors: Vectors) -> list[list[float]]:
        from qwen_retrieval.vectors import quantize  # noqa: PLC0415 - numpy is slow to import

        codes = quantize(vectors, self.vector_type, self.vector_ranges)
        return [row.tolist() for row in codes]  # row by row, so that a thread can be interrupted

    @property
    def _model(self) -> Embedder:
        return self._opened(open_embedder)
