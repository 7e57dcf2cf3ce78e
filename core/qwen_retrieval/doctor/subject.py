"""Who is examined, and how the doctor asks: through the library, and as other clients would."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np

from qwen_retrieval import prompts
from qwen_retrieval.doctor.candidates import Diagnosis, diagnose_vectors
from qwen_retrieval.doctor.copy import EmbedderCopy, RerankerCopy
from qwen_retrieval.doctor.dialects import DIALECTS, Dialect, read_ids
from qwen_retrieval.doctor.probes import ANSWERS, QUERIES
from qwen_retrieval.errors import ServerError
from qwen_retrieval.servers.engine import Call, Request
from qwen_retrieval.servers.reading import read_scores, read_vectors
from qwen_retrieval.servers.tokenizer import ServedModel, read_model
from qwen_retrieval.settings import EmbedderSettings, ModelSettings, RerankerSettings
from qwen_retrieval.tokens import token_id

if TYPE_CHECKING:
    from qwen_retrieval.contract import Vectors
    from qwen_retrieval.servers.engine import Served

S = TypeVar("S", bound=ModelSettings)
Ids = Sequence[int]


class Subject(Generic[S]):
    """What embedders and rerankers have in common here.

    Attributes:
        settings: of the server or the model.
        local: where a copy of the model lies that values are compared with, or None.
    """

    def __init__(self, settings: S, local: str | None) -> None:
        self.settings = settings
        self.local = local if settings.server is not None else settings.model
        self.dialect = DIALECTS.get(str(settings.server), Dialect())

    @cached_property
    def model(self) -> ServedModel:
        """Tokenizer and configuration, from the model's own files."""
        return read_model(self.settings)

    @property
    def address(self) -> str:
        """Where the server answers."""
        return str(self.settings.base_url or self.client.engine.default_url)

    @property
    def is_foreign(self) -> bool:
        """Whether the service has a model of its own, of which `settings.model` says nothing."""
        return self.settings.server is not None and self.client.engine.default_model is not None

    @cached_property
    def copy_settings(self) -> ModelSettings:
        """Settings that name the copy."""
        return ModelSettings(
            model=str(self.local),
            source=self.settings.source,
            local_files_only=self.settings.local_files_only,
        )

    @cached_property
    def version(self) -> str | None:
        """Of the engine, where it tells."""
        if self.dialect.version is None:
            return None
        path, name = self.dialect.version
        try:
            answer = self.ask(Request(path))
        except ServerError:
            return None
        return str(answer[name]) if isinstance(answer, dict) and name in answer else None

    @cached_property
    def served(self) -> Served:
        """The model as the server names it."""
        found: Served = self.client.served()
        return found

    def ids(self, text: str) -> list[int]:
        """Return the ids of a text that holds control tokens only where they are meant."""
        return list(self.model.tokenizer.encode(text, add_special_tokens=False).ids)

    def server_ids(self, text: str) -> list[int] | None:
        """Return the ids that the server makes of a text, where it tells."""
        if self.dialect.tokenize is None:
            return None
        try:
            return read_ids(self.ask(self.dialect.tokenize(text)))
        except (ServerError, AttributeError, IndexError, KeyError, TypeError, ValueError):
            return None

    def ask(self, request: Request) -> Any:  # noqa: ANN401 - JSON
        """Return the server's answer to a request that the library itself would not send."""
        return self.client.ask(request)

    client: Any


class EmbedderSubject(Subject[EmbedderSettings]):
    """An embedder."""

    def __init__(
        self, settings: EmbedderSettings, token: str | None = None, local: str | None = None
    ) -> None:
        # At full width, since what is cut is examined apart, and with the prompts and the length
        # of what it is compared with.
        plain = replace(
            settings,
            dimensions=None,
            normalize=True,
            query_instruction=None,
            query_prompt=None,
            document_prompt="",
        )
        super().__init__(plain, local)
        self._token = token

    @cached_property
    def client(self) -> Any:  # noqa: ANN401 - of this process or of a server
        """The library's own way to it."""
        return self._open(None)

    def _open(self, dimensions: int | None) -> Any:  # noqa: ANN401 - the same
        settings = replace(self.settings, dimensions=dimensions)
        if settings.server is None:
            from qwen_retrieval.local.embedder import LocalEmbedder  # noqa: PLC0415 - torch

            return LocalEmbedder(settings, token=self._token)
        from qwen_retrieval.servers.embedder import ServerEmbedder  # noqa: PLC0415 - an extra

        return ServerEmbedder(settings, token=self._token)

    @cached_property
    def diagnosis(self) -> Diagnosis | None:
        """What became of plain texts."""
        return diagnose_vectors(self)

    @cached_property
    def eos(self) -> int:
        """The id of the end token."""
        return token_id(self.model.tokenizer, prompts.EMBEDDER_EOS, self.model.name)

    @cached_property
    def copy(self) -> EmbedderCopy | None:
        """A copy to compare with."""
        return None if self.local is None else EmbedderCopy(self.copy_settings)

    def text_vectors(self, texts: Sequence[str], dimensions: int | None = None) -> Vectors:
        """Return what another client gets for plain text, finite or not, of whatever length."""
        if self.dialect.embed is None:
            client = self.client if dimensions is None else self._open(dimensions)
            return np.asarray(client.embed_documents(texts))
        answer = self.ask(self.dialect.embed(self.served.model, texts, dimensions))
        return np.stack(read_vectors(answer, len(texts), None))

    def id_vectors(self, sequences: Sequence[Ids]) -> Vectors | None:
        """Return vectors of token ids, where the engine takes them."""
        engine = getattr(self.client, "engine", None)
        if engine is None or not engine.takes_ids:
            return None
        request = engine.request([list(ids) for ids in sequences], Call(self.served.model))
        return np.stack(read_vectors(self.ask(request), len(sequences), None))


class RerankerSubject(Subject[RerankerSettings]):
    """A reranker."""

    def __init__(
        self, settings: RerankerSettings, token: str | None = None, local: str | None = None
    ) -> None:
        # With the instruction of what it is compared with.
        super().__init__(replace(settings, score_type="probability", instruction=None), local)
        self._scores: dict[str | None, dict[str, Vectors]] = {}
        self._token = token

    @cached_property
    def client(self) -> Any:  # noqa: ANN401 - of this process or of a server
        """The library's own way to it."""
        if self.settings.server is None:
            from qwen_retrieval.local.reranker import LocalReranker  # noqa: PLC0415

            return LocalReranker(self.settings, token=self._token)
        from qwen_retrieval.servers.reranker import ServerReranker  # noqa: PLC0415

        return ServerReranker(self.settings, token=self._token)

    @cached_property
    def answers(self) -> tuple[int, int]:
        """The ids of "yes" and "no"."""
        known = self.model.tokenizer
        return token_id(known, "yes", self.model.name), token_id(known, "no", self.model.name)

    @cached_property
    def copy(self) -> RerankerCopy | None:
        """A copy to compare with."""
        return None if self.local is None else RerankerCopy(self.copy_settings, *self.answers)

    def text_scores(
        self, query: str, documents: Sequence[str], instruction: str | None = None
    ) -> Vectors:
        """Return what another client gets from the engine's own rerank path."""
        if self.dialect.rerank is None:
            pairs = [(query, document) for document in documents]
            return np.asarray(self.client.score(pairs, instruction=instruction))
        request = self.dialect.rerank(self.served.model, query, documents, instruction)
        return np.asarray(read_scores(self.ask(request), len(documents), float), np.float32)

    def id_scores(self, prompts_ids: Sequence[Ids]) -> Vectors | None:
        """Return P("yes") after whole prompts as token ids, where the engine takes them."""
        engine = getattr(self.client, "engine", None)
        if engine is None or not engine.takes_ids:
            return None
        call = Call(self.served.model, answers=self.answers)
        answer = self.ask(engine.request([list(ids) for ids in prompts_ids], call))
        values = read_scores(answer, len(prompts_ids), lambda value: engine.score(value, call))
        return np.asarray(values, np.float32)

    def scores(self, instruction: str | None = None) -> dict[str, Vectors]:
        """Return the scores through this library of every probe's answer for each probe's query."""
        if instruction not in self._scores:
            self._scores[instruction] = {
                query: np.asarray(
                    self.client.score([(query, each) for each in ANSWERS], instruction=instruction)
                )
                for query in QUERIES
            }
        return self._scores[instruction]
