"""What the three classes share: the core's settings as fields, and one lazy opening."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import fields
from threading import Lock
from typing import Any, ClassVar, Self, TypeVar

from langchain_core.load.serializable import Serializable
from langchain_core.runnables import run_in_executor
from pydantic import ConfigDict, PrivateAttr, SecretStr

from qwen_retrieval import Embedder, Reranker, RerankerSettings, open_reranker
from qwen_retrieval.catalog import DEFAULT_RERANKER
from qwen_retrieval.errors import SettingsError
from qwen_retrieval.settings import (
    Backend,
    DType,
    ModelSettings,
    Precision,
    ScoreType,
    Server,
    Source,
    TooLong,
)

S = TypeVar("S", bound=ModelSettings)
M = TypeVar("M", bound=Embedder | Reranker)
_OPENING = Lock()  # one for all: opening loads nothing, and a lock in an object cannot be pickled


class QwenModel(Serializable):
    """The fields of `qwen_retrieval.settings.ModelSettings`, and ``token``.

    Objects are frozen, since an open model would not follow a changed field;
    ``model_copy(update={...})`` gives another one.
    """

    model_config = ConfigDict(extra="forbid", protected_namespaces=(), frozen=True)
    settings_type: ClassVar[type[ModelSettings]]

    model: str
    revision: str | None = None
    source: Source = "huggingface"
    local_files_only: bool = False
    trust_remote_code: bool = False
    safetensors_only: bool = True
    device: str | tuple[str, ...] | None = None
    dtype: DType | None = None
    precision: Precision | None = None
    attention: str | None = None
    backend: Backend = "torch"
    max_length: int | None = None
    too_long: TooLong = "truncate"
    batch_size: int = 32
    batch_tokens: int | None = None
    progress_bar: bool = False
    server: Server | None = None
    base_url: str | None = None
    served_model: str | None = None
    timeout: float = 120.0
    max_retries: int = 4
    max_concurrency: int = 8
    verify_tls: bool | str = True
    check_server: bool = False
    token: SecretStr | None = None
    _loaded: Any = PrivateAttr(default=None)
    _handle: Any = PrivateAttr(default=None)

    def __init__(self, **values: Any) -> None:  # noqa: ANN401 - checked just below
        """Take the fields as keywords; the core's errors come before pydantic's."""
        self._check(values)
        super().__init__(**values)

    @classmethod
    def from_loaded(cls, loaded: Any, /, **values: Any) -> Self:  # noqa: ANN401 - as above
        """Return one that uses an already loaded sentence-transformers model.

        Args:
            loaded: a ``SentenceTransformer`` for embeddings, a ``CrossEncoder`` for the others.
            **values: any fields; ``model`` then only names it, by default as the model itself does.
        """
        name = getattr(loaded.transformers_model, "name_or_path", "")
        made = cls(**{"model": name, **values})
        made._loaded = loaded
        return made

    @classmethod
    def is_lc_serializable(cls) -> bool:
        """Return True: `langchain_core.load` writes and reads every field."""
        return True

    @property
    def lc_secrets(self) -> dict[str, str]:
        """Name that stands for ``token`` in what `langchain_core.load` writes.

        A server's key has another, so that the hub's token is never sent to it.
        """
        return {"token": "HF_TOKEN" if self.server is None else "QWEN_RETRIEVAL_API_KEY"}

    def to_json(self) -> Any:  # noqa: ANN401 - one of two typed dicts of langchain-core
        """Return what `langchain_core.load` writes; an already loaded model cannot be written."""
        return super().to_json() if self._loaded is None else self.to_json_not_implemented()

    @property
    @abstractmethod
    def settings(self) -> ModelSettings:
        """What the model is opened with."""

    @property
    @abstractmethod
    def _model(self) -> Embedder | Reranker: ...

    def close(self) -> None:
        """Give up the model; the last holder frees its memory. Later calls raise `ClosedError`."""
        self._model.close()

    async def aclose(self) -> None:
        """Do what `close` does."""
        await (await self._aopened()).aclose()

    @classmethod
    def _check(cls, values: dict[str, Any]) -> None:
        names = {field.name for field in fields(cls.settings_type)}
        cls.settings_type(**{name: values[name] for name in names & values.keys()})

    def _from_fields(self, kind: type[S]) -> S:
        return kind(**{field.name: getattr(self, field.name) for field in fields(kind)})

    def _opened(self, opener: Callable[..., M]) -> M:
        with _OPENING:
            if self._handle is None:
                token = None if self.token is None else self.token.get_secret_value()
                self._handle = opener(self.settings, token=token, loaded=self._loaded)
            handle: M = self._handle
            return handle

    async def _aopened(self) -> Any:  # noqa: ANN401 - what `_model` is
        if self._handle is None:  # opening imports numpy, which the event loop would notice
            await run_in_executor(None, lambda: self._model)
        return self._model

    def __copy__(self) -> Self:
        """Return an unopened copy, so that `model_copy` may give it other fields."""
        copied = super().__copy__()
        copied._handle = None  # noqa: SLF001 - its own
        return copied

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        """Return an unopened copy; the fields are immutable and loaded weights stay shared."""
        return self.__copy__()

    def __getstate__(self) -> dict[Any, Any]:
        """Leave the open model and the token out of pickles; a loaded one cannot be pickled."""
        if self._loaded is not None:
            raise SettingsError(
                f"this {type(self).__name__} was made from a loaded model, which is not pickled;"
                " save the model to a folder and give model=<folder>."
            )
        unopened = self.model_copy(update={"token": None})
        return super(QwenModel, unopened).__getstate__()


class QwenRerankerModel(QwenModel):
    """The fields of `qwen_retrieval.RerankerSettings`, and ``token``."""

    settings_type = RerankerSettings

    model: str = DEFAULT_RERANKER
    instruction: str | None = None
    score_type: ScoreType = "probability"

    @property
    def settings(self) -> RerankerSettings:
        """What the reranker is opened with."""
        return self._from_fields(RerankerSettings)

    @property
    def _model(self) -> Reranker:
        return self._opened(open_reranker)
