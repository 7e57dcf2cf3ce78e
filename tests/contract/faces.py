"""One small face before every class that promises the contract, and the tables of them.

A *subject* stands before one class and speaks the contract's own words, each as a method and as a
coroutine. What a framework's interface cannot express is a flag that is off, and then a test
asserts the refusal: the promise or the refusal, never neither. A *face* is a subject used in one of
the two ways, so that each test is written once.
"""

# ruff: noqa: D102 - the methods are described where the subjects' bases name them

from __future__ import annotations

import asyncio
import importlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import MISSING, dataclass, fields
from typing import Any, ClassVar

import numpy as np
import pytest

from qwen_retrieval import (
    EmbedderSettings,
    Ranked,
    RerankerSettings,
    open_embedder,
    open_reranker,
)
from qwen_retrieval.errors import ServerUnsupportedError
from qwen_retrieval.settings import ModelSettings
from qwen_retrieval.testing import FakeEmbedder, FakeReranker

from .frameworks import INSTALLED

Field = tuple[str, Any]


class Subject:
    """What every subject says about the class it stands before.

    Attributes:
        name: how a test's id calls it.
        settings_type: whose fields the class takes.
        parts: the objects made; two where a framework parts queries from documents.
        extras: the class's own fields beside the settings, with a value that is not the default.
        computes: it has weights (the doubles have none).
        adapts: it stands before a framework's class.
        local: its weights lie in this process; else the subject says what its server refuses.
        reopens: a call after `close` opens the model again instead of raising, with the reason.
        saves: it can be written down by its framework.
        ways: sync and async, as far as they are not the same code as another subject's.
    """

    name: ClassVar[str]
    settings_type: ClassVar[type[ModelSettings]]
    extras: ClassVar[Mapping[str, Any]] = {}
    computes: ClassVar[bool] = True
    adapts: ClassVar[bool] = True
    local: ClassVar[bool] = True
    reopens: ClassVar[bool] = False
    saves: ClassVar[bool] = True
    ways: ClassVar[tuple[bool, ...]] = (False, True)
    parts: tuple[Any, ...]

    @classmethod
    def types(cls) -> tuple[type, ...]:
        """Return the classes."""
        raise NotImplementedError

    @classmethod
    def common(cls, folder: str) -> dict[str, Any]:
        """Return the settings with which it computes over a checkpoint, in float32."""
        return {"model": folder, "dtype": "float32", "device": "cpu"}

    @classmethod
    def refusal(cls, text: str) -> str | None:
        """Return words of the error by which a finished text is refused; None if it is not."""
        return None

    @classmethod
    def usable(cls, texts: Sequence[str], head: str = "") -> list[str]:
        """Return the texts that are not refused behind a head; another test asserts the others."""
        return [text for text in texts if cls.refusal(head + text) is None]

    @classmethod
    def from_loaded(cls, loaded: Any, **values: Any) -> Subject:
        """Return one around an already loaded sentence-transformers model."""
        raise NotImplementedError

    @classmethod
    def defaults(cls, kind: type) -> dict[str, Any]:
        """Return the fields that a class takes and their defaults."""
        raise NotImplementedError

    @classmethod
    def with_token(cls, token: str) -> list[Any]:
        """Return objects that hold a token."""
        raise NotImplementedError

    @classmethod
    def save(cls, part: Any) -> str:
        """Return the object written down by its framework's own means."""
        raise NotImplementedError

    @classmethod
    def load(cls, text: str, kind: type) -> Any:
        """Return the object that `save` wrote."""
        raise NotImplementedError

    @classmethod
    def settings_of(cls, part: Any) -> ModelSettings:
        """Return the core's settings of an object."""
        settings: ModelSettings = part.settings
        return settings

    def close(self) -> None:
        """Close every object."""
        for part in self.parts:
            part.close()

    async def aclose(self) -> None:
        """Close every object by its coroutine."""
        for part in self.parts:
            await part.aclose()


class EmbedderSubject(Subject):
    """A subject that embeds.

    Attributes:
        many_queries: several queries in one call; without it a list is refused.
        arrays: vectors come as an array, so that an empty one still has a width.
        quantizes: hands out `vector_type`; without it the contract's float32 always comes back.
        takes_prompt: a `query_prompt` can stand before queries.
        own_model: the server's model is one of its own, whose widths only the server knows.
        list_verb: the method that takes a list as it is, so that our class sees what it is given.
    """

    settings_type: ClassVar[type[ModelSettings]] = EmbedderSettings
    many_queries: ClassVar[bool] = True
    arrays: ClassVar[bool] = False
    quantizes: ClassVar[bool] = True
    takes_prompt: ClassVar[bool] = True
    own_model: ClassVar[bool] = False
    list_verb: ClassVar[str] = "embed_documents"


class RerankerSubject(Subject):
    """A subject that reranks.

    Attributes:
        orders: gives an order; without it only scores.
        has_defaults: takes `top_n` and `score_threshold` when it is made.
        top_n: the framework's word for it.
        scores_pairs: takes pairs of many queries in one call.
        gives_logits: hands out yes − no.
        takes_instruction: any instruction reaches the model; else only the default one.
    """

    settings_type: ClassVar[type[ModelSettings]] = RerankerSettings
    orders: ClassVar[bool] = True
    has_defaults: ClassVar[bool] = True
    top_n: ClassVar[str] = "top_n"
    scores_pairs: ClassVar[bool] = False
    gives_logits: ClassVar[bool] = True
    takes_instruction: ClassVar[bool] = True

    @classmethod
    def wrap(cls, texts: Sequence[str]) -> list[Any]:
        """Return the framework's documents of these texts, with metadata and an earlier score."""
        raise NotImplementedError

    @classmethod
    def ranked(cls, results: Sequence[Any]) -> list[Ranked]:
        """Return places and scores from the framework's documents."""
        raise NotImplementedError

    @classmethod
    def content(cls, document: Any) -> tuple[str, Any]:
        """Return a document's text and what its metadata had before reranking."""
        raise NotImplementedError


class CoreWords:
    """How what speaks the contract itself is saved: by its settings."""

    adapts = False

    @classmethod
    def defaults(cls, kind: type) -> dict[str, Any]:
        return {f.name: f.default for f in fields(kind) if f.default is not MISSING}

    @classmethod
    def save(cls, part: Any) -> str:
        return json.dumps(part.settings.to_dict())


class CoreEmbedder(CoreWords, EmbedderSubject):
    """What `open_embedder` returns."""

    name = "core"
    arrays = True
    quantizes = False

    def __init__(self, **values: Any) -> None:
        self.parts = (self.open(EmbedderSettings(**values)),)

    open: ClassVar[Callable[..., Any]] = staticmethod(open_embedder)

    @classmethod
    def types(cls) -> tuple[type, ...]:
        return (EmbedderSettings,)

    @classmethod
    def from_loaded(cls, loaded: Any, **values: Any) -> CoreEmbedder:
        made = cls(**values)
        made.parts = (open_embedder(EmbedderSettings(**values), loaded=loaded),)
        return made

    @classmethod
    def with_token(cls, token: str) -> list[Any]:
        return [cls.open(EmbedderSettings(), token=token)]

    @classmethod
    def load(cls, text: str, kind: type) -> Any:
        return cls.open(EmbedderSettings.from_dict(json.loads(text)))

    def __getattr__(self, verb: str) -> Any:
        """The core speaks the contract's words itself."""
        return getattr(self.parts[0], verb)


class DoubleEmbedder(CoreEmbedder):
    """What users' tests get in its place."""

    name = "doubles"
    computes = False
    open = FakeEmbedder


class CoreReranker(CoreWords, RerankerSubject):
    """What `open_reranker` returns."""

    name = "core"
    has_defaults = False
    scores_pairs = True

    def __init__(self, **values: Any) -> None:
        self.parts = (self.open(RerankerSettings(**values)),)

    open: ClassVar[Callable[..., Any]] = staticmethod(open_reranker)

    @classmethod
    def types(cls) -> tuple[type, ...]:
        return (RerankerSettings,)

    @classmethod
    def from_loaded(cls, loaded: Any, **values: Any) -> CoreReranker:
        made = cls(**values)
        made.parts = (open_reranker(RerankerSettings(**values), loaded=loaded),)
        return made

    @classmethod
    def with_token(cls, token: str) -> list[Any]:
        return [cls.open(RerankerSettings(), token=token)]

    @classmethod
    def load(cls, text: str, kind: type) -> Any:
        return cls.open(RerankerSettings.from_dict(json.loads(text)))

    @classmethod
    def wrap(cls, texts: Sequence[str]) -> list[Any]:
        return list(texts)

    @classmethod
    def ranked(cls, results: Sequence[Any]) -> list[Ranked]:
        return list(results)

    def __getattr__(self, verb: str) -> Any:
        """The core speaks the contract's words itself."""
        return getattr(self.parts[0], verb)


class DoubleReranker(CoreReranker):
    """What users' tests get in its place."""

    name = "doubles"
    computes = False
    open = FakeReranker


@dataclass
class Face:
    """A subject used by its methods or by its coroutines, each call in an event loop of its own."""

    subject: Any
    asynchronous: bool

    def call(self, verb: str, *args: Any, **given: Any) -> Any:
        """Return what the verb returns."""
        if not self.asynchronous:
            return getattr(self.subject, verb)(*args, **given)
        return asyncio.run(getattr(self.subject, f"a{verb}")(*args, **given))

    def close(self) -> None:
        """Close every object."""
        self.call("close")

    # embedders

    def queries(self, texts: Sequence[str], **given: Any) -> Any:
        """Return the queries' vectors as the framework hands them out."""
        return self.call("embed_queries", texts, **given)

    def documents(self, texts: Sequence[str]) -> Any:
        """Return the documents' vectors as the framework hands them out."""
        return self.call("embed_documents", texts)

    # rerankers

    def documents_for(self, texts: Sequence[str]) -> list[Any]:
        """Return the framework's documents of these texts."""
        wrapped: list[Any] = self.subject.wrap(texts)
        return wrapped

    def rerank(self, query: str, texts: Sequence[str], **given: Any) -> list[Ranked]:
        """Return places and scores, best first."""
        results = self.call("rerank", query, self.documents_for(texts), **given)
        ranked: list[Ranked] = self.subject.ranked(results)
        return ranked

    def scores(self, query: str, texts: Sequence[str], **given: Any) -> list[float]:
        """Return the scores in the order of the texts."""
        if not self.subject.orders:
            pairs = [(query, text) for text in texts]
            return [float(score) for score in self.call("score", pairs, **given)]
        ranked = self.rerank(query, texts, **given)
        assert sorted(each.index for each in ranked) == list(range(len(texts)))
        return [each.score for each in sorted(ranked, key=lambda each: each.index)]


@dataclass(frozen=True)
class Maker:
    """Makes faces of one subject in one of the two ways."""

    subject: type[Any]
    asynchronous: bool

    def __str__(self) -> str:
        return f"{self.subject.name}-{'async' if self.asynchronous else 'sync'}"


def _subjects() -> tuple[list[type[Any]], list[type[Any]]]:
    embedders: list[type[Any]] = [CoreEmbedder, DoubleEmbedder]
    rerankers: list[type[Any]] = [CoreReranker, DoubleReranker]
    for framework in INSTALLED:
        module = importlib.import_module(f".{framework.name}_faces", __package__)
        embedders += module.EMBEDDERS
        rerankers += module.RERANKERS
    return embedders, rerankers


EMBEDDERS, RERANKERS = _subjects()
SUBJECTS = (*EMBEDDERS, *RERANKERS)


def makers(
    subjects: Sequence[type[Any]], keep: Callable[[type[Any]], bool] = lambda _: True
) -> list[Maker]:
    """Return both ways of each subject that is kept, where they differ."""
    return [Maker(each, way) for each in subjects if keep(each) for way in each.ways]


def is_adapter(subject: type[Any]) -> bool:
    """Say whether it stands before a framework's class."""
    return bool(subject.adapts)


@contextmanager
def kept_or_refused(words: str | None) -> Iterator[None]:
    """Let a promise be kept, or be refused in these words: one of the two, never neither."""
    if words is None:
        yield
        return
    with pytest.raises(ServerUnsupportedError, match=words):
        yield


def finest(make: Any, reference: Any) -> tuple[dict[str, Any], Callable[..., float]]:
    """Return the settings of the finest score that a class gives, and the reference's for it.

    Near 0 and 1 a probability hardly moves, whatever is lost; a logit does.
    """
    if make.subject.gives_logits:
        return {"score_type": "logit"}, reference.logit
    return {}, reference.probability


def array(vectors: Any) -> np.ndarray[Any, Any]:
    """Return a framework's vectors as one float64 array."""
    return np.asarray(vectors, dtype=np.float64)
