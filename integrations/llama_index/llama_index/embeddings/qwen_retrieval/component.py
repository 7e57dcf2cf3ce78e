"""What the two classes share: the settings as pydantic fields, and a model that opens late."""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Self, TypeVar

from llama_index.core.bridge.pydantic import ConfigDict, Field, PrivateAttr, SecretStr
from llama_index.core.schema import BaseComponent
from pydantic import SkipValidation

from qwen_retrieval.errors import SettingsError
from qwen_retrieval.settings import (
    Backend,
    DType,
    ModelSettings,
    Precision,
    Server,
    Source,
    TooLong,
)

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder, SentenceTransformer

    from qwen_retrieval import Embedder, Reranker

ModelT = TypeVar("ModelT")
SettingsT = TypeVar("SettingsT", bound=ModelSettings)


class Opened:
    """The models that a component and its shallow copies have opened, one for each settings."""

    def __init__(self, loaded: SentenceTransformer | CrossEncoder | None = None) -> None:
        """Hold nothing yet; `loaded` is used instead of loading a model."""
        self.loaded = loaded
        self.models: dict[ModelSettings, Any] = {}
        self._lock = threading.Lock()

    def get(
        self, settings: SettingsT, opener: Callable[..., ModelT], token: SecretStr | None
    ) -> ModelT:
        """Return the model for the settings, opened once among all threads."""
        with self._lock:
            if settings not in self.models:
                secret = None if token is None else token.get_secret_value()
                self.models[settings] = opener(settings, token=secret, loaded=self.loaded)
            model: ModelT = self.models[settings]
            return model

    def __deepcopy__(self, memo: dict[int, Any]) -> Opened:
        """Return one that has opened nothing: weights are shared, never copied."""
        return Opened(self.loaded)


class QwenComponent(BaseComponent):
    """The fields of `qwen_retrieval.settings.ModelSettings`, where they are described.

    The core checks them, so pydantic does not: a wrong one raises the core's own error.
    """

    model_config = ConfigDict(
        extra="forbid",  # a misspelt setting must not be dropped in silence
        protected_namespaces=(),
        arbitrary_types_allowed=True,
    )

    model: SkipValidation[str]
    revision: SkipValidation[str | None] = None
    source: SkipValidation[Source] = "huggingface"
    local_files_only: SkipValidation[bool] = False
    trust_remote_code: SkipValidation[bool] = False
    safetensors_only: SkipValidation[bool] = True
    device: SkipValidation[str | tuple[str, ...] | None] = None
    dtype: SkipValidation[DType | None] = None
    precision: SkipValidation[Precision | None] = None
    attention: SkipValidation[str | None] = None
    backend: SkipValidation[Backend] = "torch"
    max_length: SkipValidation[int | None] = None
    too_long: SkipValidation[TooLong] = "truncate"
    batch_size: SkipValidation[int] = 32
    batch_tokens: SkipValidation[int | None] = None
    progress_bar: SkipValidation[bool] = False
    server: SkipValidation[Server | None] = None
    base_url: SkipValidation[str | None] = None
    served_model: SkipValidation[str | None] = None
    timeout: SkipValidation[float] = 120.0
    max_retries: SkipValidation[int] = 4
    max_concurrency: SkipValidation[int] = 8
    verify_tls: SkipValidation[bool | str] = True
    check_server: SkipValidation[bool] = False
    token: SecretStr | None = Field(default=None, exclude=True, repr=False)

    _opened: Opened = PrivateAttr(default_factory=Opened)

    if not TYPE_CHECKING:  # type checkers take the signature from the fields

        def __init__(self, **values: Any) -> None:  # noqa: ANN401 - any field
            """Check the settings; nothing is loaded before the first call."""
            values.pop("class_name", None)  # LlamaIndex adds it when it serialises
            super().__init__(**values)
            # Not in a validator: pydantic would hide the core's errors in one of its own. The
            # core's tuples replace the lists that JSON makes of them.
            settings = self.settings
            self.__dict__.update({f.name: getattr(settings, f.name) for f in fields(settings)})
            self._check()

    @property
    @abstractmethod
    def settings(self) -> ModelSettings:
        """The core's settings, from the fields as they are now."""

    @abstractmethod
    def _open(self) -> Embedder | Reranker:
        """Return the core's model for the settings."""

    def _check(self) -> None:
        """Refuse what only the adapter knows to be wrong."""

    def _settings(self, kind: type[SettingsT]) -> SettingsT:
        return kind(**{field.name: getattr(self, field.name) for field in fields(kind)})

    @classmethod
    def from_loaded(
        cls,
        loaded: SentenceTransformer | CrossEncoder,
        /,
        **values: Any,  # noqa: ANN401 - any field
    ) -> Self:
        """Return one around a model that sentence-transformers has already loaded.

        ``model`` then only names it, by default as the model itself does, and `to_dict` keeps no
        more than that name. It cannot be pickled.
        """
        name = getattr(loaded.transformers_model, "name_or_path", "")
        component = cls(**{"model": name, **values})
        component._opened.loaded = loaded
        return component

    def close(self) -> None:
        """Give up the model, also for shallow copies; later calls raise `ClosedError`."""
        self._open()  # closing one that was never used counts too
        for model in list(self._opened.models.values()):
            model.close()

    async def aclose(self) -> None:
        """Do what `close` does, without blocking the event loop."""
        self._open()
        for model in list(self._opened.models.values()):
            await model.aclose()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the fields that LlamaIndex serialises: no weights, no token, no callbacks."""
        if self._opened.loaded is not None:
            raise SettingsError(
                f"a {self.class_name()} around an already loaded model cannot be pickled, nor sent"
                " to other processes; save the model to a folder and give that as model=."
            )
        kept = {
            name: getattr(self, name)
            for name, field in type(self).model_fields.items()
            if not field.exclude
        }
        return type(self).from_dict, (kept,)
