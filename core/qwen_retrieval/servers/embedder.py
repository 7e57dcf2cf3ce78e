"""Embedding by a server."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from qwen_retrieval import prompts, stages
from qwen_retrieval.catalog import DEFAULT_INSTRUCTION, RELEASED
from qwen_retrieval.errors import ServerUnsupportedError, WrongModelError
from qwen_retrieval.mteb_protocols import MtebEncoder
from qwen_retrieval.servers.engine import Call, EmbeddingEngine
from qwen_retrieval.servers.engines import embedding_engine
from qwen_retrieval.servers.handle import Check, ServerHandle
from qwen_retrieval.servers.preparing import Texts
from qwen_retrieval.servers.reading import read_vectors
from qwen_retrieval.servers.tokenizer import ServedModel, read_model
from qwen_retrieval.settings import EmbedderSettings
from qwen_retrieval.texts import check_texts
from qwen_retrieval.threads import in_thread

if TYPE_CHECKING:
    from qwen_retrieval.contract import Vectors

NUMBER_BYTES = 32
"""Of a number in JSON, at most: sign, 17 digits, exponent, comma, and white space around."""

WIDEST = 8192
"""Numbers of a vector whose width is not known, at most."""


class ServerEmbedder(MtebEncoder, ServerHandle[EmbedderSettings, EmbeddingEngine]):
    """An `Embedder` over a server."""

    def __init__(
        self,
        settings: EmbedderSettings,
        *,
        token: str | None = None,
        check: Check[EmbedderSettings] | None = None,
    ) -> None:
        """See `qwen_retrieval.open_embedder`; `check` is run before the first call."""
        super().__init__(settings, token, embedding_engine(settings), check)
        self._full: int | None = None

    @property
    def dimensions(self) -> int:
        """Width of the vectors; asks the server for one where nothing else tells."""
        released = RELEASED.get(self.settings.model)
        if released is None or self._engine.own_model:
            return self._run(self._width())
        return stages.chosen_width(self.settings, released.width, is_qwen3=True)

    def takes_instructions(self) -> bool:
        """Say that the model has a template for instructions, as all Qwen3 embedders have."""
        return True

    def embed_queries(self, texts: Sequence[str], *, instruction: str | None = None) -> Vectors:
        """Return float32 vectors of shape (n, dimensions) for queries, with the instruction."""
        return self._run(self._queries(texts, instruction))

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Return float32 vectors of shape (n, dimensions) for documents, without instruction."""
        return self._run(self._documents(texts))

    async def aembed_queries(
        self, texts: Sequence[str], *, instruction: str | None = None
    ) -> Vectors:
        """Return what `embed_queries` returns, without blocking the event loop."""
        return await self._arun(self._queries(texts, instruction))

    async def aembed_documents(self, texts: Sequence[str]) -> Vectors:
        """Return what `embed_documents` returns, without blocking the event loop."""
        return await self._arun(self._documents(texts))

    async def _queries(self, texts: Sequence[str], instruction: str | None) -> Vectors:
        settings = self.settings
        queries = stages.check_queries(settings, texts, instruction)
        if self._engine.own_instruction and any(map(prompts.is_prefixed, queries)):
            raise ServerUnsupportedError(
                f"a query already begins with an instruction, and {self._engine.title} puts one"
                " before it too; give the bare query and the instruction apart."
            )
        chosen = settings.query_instruction if instruction is None else instruction
        task = DEFAULT_INSTRUCTION if chosen is None else chosen

        def finished(model: Texts) -> tuple[list[str], str]:
            return stages.finished_queries(settings, model, queries, instruction)

        return await self._embed(len(queries), finished, task)

    async def _documents(self, texts: Sequence[str]) -> Vectors:
        documents = check_texts(texts, "document")

        def finished(model: Texts) -> tuple[list[str], str]:
            return stages.finished_documents(self.settings, model, documents)

        return await self._embed(len(documents), finished, None)

    async def _embed(
        self,
        count: int,
        finished: Callable[[Texts], tuple[list[str], str]],
        instruction: str | None,
    ) -> Vectors:
        """Return vectors of so many texts, which `finished` makes; each distinct one is sent once.

        `instruction` is that of queries, and None for documents.
        """
        if not count:
            return np.empty((0, await self._width()), np.float32)
        model, served = await self._known()
        texts = Texts(model, self._engine, self._context(model, served))
        work = await in_thread(
            lambda stop: stages.prepare_texts(self.settings, texts, *finished(texts))  # noqa: ARG005
        )
        call = Call(
            served.model,
            instruction=instruction,
            is_query=instruction is not None,
            dimensions=self.settings.dimensions if self._engine.own_model else None,
        )
        full = self._expected(model)
        rows = await self._results(
            work,
            [range(len(work.items))],
            lambda batch: self._engine.request(batch, call),
            lambda answer, count: read_vectors(answer, count, full),
            NUMBER_BYTES * (WIDEST if full is None else full),
        )
        self._full = len(rows[0])
        width = stages.chosen_width(self.settings, self._full, is_qwen3=True)
        return await in_thread(
            lambda stop: stages.finished_vectors(  # noqa: ARG005
                self.settings, rows, work.inverse, width, remedy=self._remedy
            )
        )

    async def _width(self) -> int:
        full = self._expected(await self._files())
        if full is None:  # only the server knows
            full = (await self._embed(1, lambda _: (["width"], ""), None)).shape[1]
        return stages.chosen_width(self.settings, full, is_qwen3=True)

    def _expected(self, model: ServedModel) -> int | None:
        """Return the width in which the server's vectors come."""
        if not self._engine.own_model:
            return model.width if self._full is None else self._full
        return self.settings.dimensions if self._full is None else self._full

    def _read(self) -> ServedModel:
        model = read_model(self.settings)
        if _is_classifier(model.config):
            raise WrongModelError(f"{model.name} is no embedding model; open it as a reranker.")
        if not model.is_embedder:
            raise WrongModelError(
                f"{model.name} has no modules.json that names its pooling, and its tokenizer ends"
                " no text by itself: it is a Qwen3 reranker or language model. Open it as a"
                " reranker, give an embedding model, or add modules.json of"
                " Qwen/Qwen3-Embedding-0.6B."
            )
        return model


def _is_classifier(config: dict[str, Any]) -> bool:
    return any("SequenceClassification" in name for name in config.get("architectures") or [])
