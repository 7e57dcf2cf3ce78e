"""Embedding in this process."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Event
from typing import TYPE_CHECKING, Literal

import numpy as np

from qwen_retrieval import stages
from qwen_retrieval.catalog import RELEASED
from qwen_retrieval.errors import WrongModelError
from qwen_retrieval.local.checkpoint import read_checkpoint, require_embedder
from qwen_retrieval.local.encoders import EmbedderReplica, embedder_replica
from qwen_retrieval.local.handle import Handle
from qwen_retrieval.local.loading import devices, load_sentence_transformer
from qwen_retrieval.local.weights import Shelf
from qwen_retrieval.mteb_protocols import MtebEncoder
from qwen_retrieval.settings import EmbedderSettings
from qwen_retrieval.texts import check_texts
from qwen_retrieval.threads import in_thread

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from qwen_retrieval.contract import Vectors


class LocalEmbedder(MtebEncoder, Handle[EmbedderSettings, EmbedderReplica]):
    """An `Embedder` over a sentence-transformers model in this process."""

    shelf: Shelf[EmbedderReplica] = Shelf()

    def __init__(
        self,
        settings: EmbedderSettings,
        *,
        token: str | None = None,
        loaded: SentenceTransformer | None = None,
    ) -> None:
        """See `qwen_retrieval.open_embedder`."""
        super().__init__(settings, token, loaded)

    @property
    def dimensions(self) -> int:
        """Width of the vectors; loads the model where only the model knows it."""
        released = RELEASED.get(self.settings.model) if not self._is_borrowed else None
        if released is None:
            return self._width(self.replicas()[0])
        asked = self.settings.dimensions  # within the model's range: the settings have checked it
        return released.width if asked is None else asked

    def embed_queries(self, texts: Sequence[str], *, instruction: str | None = None) -> Vectors:
        """Return float32 vectors of shape (n, dimensions) for queries, with the instruction."""
        return self._queries(texts, instruction)

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Return float32 vectors of shape (n, dimensions) for documents, without instruction."""
        return self._documents(texts)

    async def aembed_queries(
        self, texts: Sequence[str], *, instruction: str | None = None
    ) -> Vectors:
        """Return what `embed_queries` returns, without blocking the event loop."""
        return await in_thread(self._queries, texts, instruction)

    async def aembed_documents(self, texts: Sequence[str]) -> Vectors:
        """Return what `embed_documents` returns, without blocking the event loop."""
        return await in_thread(self._documents, texts)

    def takes_instructions(self) -> bool:
        """Say whether the model has a template for instructions; loads it."""
        return self.replicas()[0].is_qwen3

    def count_tokens(
        self,
        texts: Sequence[str],
        kind: Literal["query", "document"],
        *,
        instruction: str | None = None,
    ) -> list[int]:
        """Return how many tokens the model reads for each text, its prompt and EOS counted.

        Args:
            texts: queries or documents.
            kind: which of the two, as they differ in their prompt.
            instruction: for queries, as in `embed_queries`.
        """
        replica, settings = self.replicas()[0], self.settings
        if kind == "query":
            queries = stages.check_queries(settings, texts, instruction)
            finished = stages.finished_queries(settings, replica, queries, instruction)
        else:
            documents = check_texts(texts, "document")
            finished = stages.finished_documents(settings, replica, documents)
        return replica.count(*finished, stages.sequence_limit(settings, replica))

    def load(self) -> list[EmbedderReplica]:
        """Return one replica for each device."""
        if self._loaded is not None:
            return [embedder_replica(_checked(self._loaded), self.settings.model, changing=True)]
        checkpoint = read_checkpoint(self.settings, self._token)
        require_embedder(checkpoint)
        replicas = [
            embedder_replica(
                load_sentence_transformer(checkpoint, self.settings, device, self._token),
                self.settings.model,
            )
            for device in devices(self.settings)
        ]
        for replica in replicas:
            if replica.is_qwen3:
                self._warm_up(replica)
        return replicas

    def _warm_up(self, replica: EmbedderReplica) -> None:
        """Compute one query: its prompt is kept, and the first real one is as fast as any other."""
        prefix = replica.query_prefix(self.settings.query_instruction, self.settings.query_prompt)
        items, _, _ = replica.prepare([f"{prefix}?"], prefix, limit=1 << 30)
        replica.compute(items)

    def _queries(
        self, texts: Sequence[str], instruction: str | None, stop: Event | None = None
    ) -> Vectors:
        queries = stages.check_queries(self.settings, texts, instruction)
        replicas = self.replicas()
        finished = stages.finished_queries(self.settings, replicas[0], queries, instruction)
        return self._embed(*finished, replicas, stop)

    def _documents(self, texts: Sequence[str], stop: Event | None = None) -> Vectors:
        documents = check_texts(texts, "document")
        replicas = self.replicas()
        finished = stages.finished_documents(self.settings, replicas[0], documents)
        return self._embed(*finished, replicas, stop)

    def _embed(
        self, texts: list[str], prefix: str, replicas: list[EmbedderReplica], stop: Event | None
    ) -> Vectors:
        """Return vectors of finished texts, each distinct one computed once."""
        width = self._width(replicas[0])
        if not texts:
            return np.empty((0, width), np.float32)
        work = stages.prepare_texts(self.settings, replicas[0], texts, prefix)
        rows = self._run(replicas, work, stop)
        if stop is not None and stop.is_set():
            return np.empty((0, width), np.float32)  # nobody waits for it
        return stages.finished_vectors(self.settings, rows, work.inverse, width)

    def _width(self, replica: EmbedderReplica) -> int:
        return stages.chosen_width(self.settings, replica.width, is_qwen3=replica.is_qwen3)


def _checked(loaded: object) -> SentenceTransformer:
    from sentence_transformers import SentenceTransformer  # noqa: PLC0415 - takes seconds

    if not isinstance(loaded, SentenceTransformer):
        raise WrongModelError(
            f"the loaded model is a {type(loaded).__name__}; an embedder needs a"
            " sentence_transformers.SentenceTransformer."
        )
    return loaded
