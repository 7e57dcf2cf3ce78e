"""Embedding in this process."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Event
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from qwen_retrieval import prompts
from qwen_retrieval.catalog import MIN_DIMENSIONS, RELEASED
from qwen_retrieval.errors import WrongModelError
from qwen_retrieval.local.checkpoint import read_checkpoint, require_embedder
from qwen_retrieval.local.encoders import EmbedderReplica, embedder_replica
from qwen_retrieval.local.handle import Handle
from qwen_retrieval.local.loading import devices, load_sentence_transformer
from qwen_retrieval.local.threads import in_thread
from qwen_retrieval.local.weights import Shelf
from qwen_retrieval.mteb_protocols import MtebEncoder
from qwen_retrieval.settings import EmbedderSettings, check_dimensions
from qwen_retrieval.texts import check_text, check_texts, unique
from qwen_retrieval.vectors import check_finite, cut_and_normalize

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from qwen_retrieval.contract import Vectors

Finished: TypeAlias = tuple[list[EmbedderReplica], list[str], str]
"""The replicas, texts as they are to see them, and what each text begins with."""


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
        released = RELEASED.get(self.settings.model) if self._loaded is None else None
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
        if kind == "query":
            (replica, *_), finished, prefix = self._finished_queries(texts, instruction)
        else:
            (replica, *_), finished, prefix = self._finished_documents(texts)
        return replica.count(finished, prefix, self._limit(replica))

    def load(self) -> list[EmbedderReplica]:
        """Return one replica for each device."""
        if self._loaded is not None:
            return [embedder_replica(_checked(self._loaded), self.settings.model, changing=True)]
        checkpoint = read_checkpoint(self.settings, self._token)
        require_embedder(checkpoint)
        return [
            embedder_replica(
                load_sentence_transformer(checkpoint, self.settings, device, self._token),
                self.settings.model,
            )
            for device in devices(self.settings)
        ]

    def _queries(
        self, texts: Sequence[str], instruction: str | None, stop: Event | None = None
    ) -> Vectors:
        replicas, finished, prefix = self._finished_queries(texts, instruction)
        return self._embed(finished, replicas, prefix, stop)

    def _finished_queries(self, texts: Sequence[str], instruction: str | None) -> Finished:
        """Return the queries as the model is to see them, and what is put before them."""
        queries = check_texts(texts, "query")
        settings = self.settings
        if settings.prefixed_query == "refuse":
            prompts.check_not_prefixed(queries)
        if instruction is not None:
            check_text(instruction, "instruction")
        chosen = settings.query_instruction if instruction is None else instruction
        # An instruction for this call also replaces a prompt from the settings.
        prompt = settings.query_prompt if instruction is None else None
        replicas = self.replicas()
        prefix = replicas[0].query_prefix(chosen, prompt)
        finished = [query if prompts.is_prefixed(query) else prefix + query for query in queries]
        return replicas, finished, prefix

    def _documents(self, texts: Sequence[str], stop: Event | None = None) -> Vectors:
        replicas, finished, prefix = self._finished_documents(texts)
        return self._embed(finished, replicas, prefix, stop)

    def _finished_documents(self, texts: Sequence[str]) -> Finished:
        """Return the documents as the model is to see them, and what is put before them."""
        documents = check_texts(texts, "document")
        replicas = self.replicas()
        prefix = replicas[0].document_prefix(self.settings.document_prompt)
        return replicas, [prefix + text for text in documents], prefix

    def _embed(
        self, texts: list[str], replicas: list[EmbedderReplica], prefix: str, stop: Event | None
    ) -> Vectors:
        """Return vectors of finished texts, each distinct one computed once."""
        first = replicas[0]
        width = self._width(first)
        if not texts:
            return np.empty((0, width), np.float32)
        distinct, inverse = unique(texts)
        limit = self._limit(first)
        items, lengths, cut = first.prepare(distinct, prefix, limit)
        cut_here = set(cut)
        self._report_cut([n for n, p in enumerate(inverse) if p in cut_here], len(texts), limit)
        rows = self._run(replicas, items, lengths, stop)
        if stop is not None and stop.is_set():
            return np.empty((0, width), np.float32)  # nobody waits for it
        full = np.stack(rows)
        vectors = cut_and_normalize(full, width, normalize=self.settings.normalize)[inverse]
        check_finite(vectors, "the vector of text")
        return vectors

    def _width(self, replica: EmbedderReplica) -> int:
        asked, full = self.settings.dimensions, replica.width
        if asked is None:
            return full
        least = min(MIN_DIMENSIONS, full) if replica.is_qwen3 else 1
        check_dimensions(asked, least, full, self.settings.model)
        return asked


def _checked(loaded: object) -> SentenceTransformer:
    from sentence_transformers import SentenceTransformer  # noqa: PLC0415 - takes seconds

    if not isinstance(loaded, SentenceTransformer):
        raise WrongModelError(
            f"the loaded model is a {type(loaded).__name__}; an embedder needs a"
            " sentence_transformers.SentenceTransformer."
        )
    return loaded
