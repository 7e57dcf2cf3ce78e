"""A component around one model: its parameters, opening, closing and serialisation.

Components are dataclasses here: each parameter stands once, and the explicit ``__init__`` that
Haystack reads is made from them. The ``@component`` decorator builds the class anew, so a
decorated class cannot call ``super()``; what needs it lives in the bases.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields
from threading import Lock
from typing import Any, ClassVar, Generic, Self, TypeVar

from haystack import default_from_dict, default_to_dict
from haystack.core.errors import SerializationError
from haystack.utils import ComponentDevice, Secret

from qwen_retrieval import Embedder, EmbedderSettings, Reranker, RerankerSettings
from qwen_retrieval.settings import Backend, DType, Precision, Server, Source, TooLong

SettingsT = TypeVar("SettingsT", EmbedderSettings, RerankerSettings)
ModelT = TypeVar("ModelT", Embedder, Reranker)

TOKEN = Secret.from_env_var(["HF_API_TOKEN", "HF_TOKEN"], strict=False)
"""The default of Haystack's own components for the Hugging Face hub."""


@dataclass(kw_only=True, eq=False)
class ModelComponent(Generic[SettingsT, ModelT]):
    """A Haystack component that opens its model at its first run.

    Parameters have the names and defaults of `qwen_retrieval.settings.ModelSettings`. Besides a
    string or several, `device` takes Haystack's ComponentDevice; a device map stands for the
    devices in it, which share the batches. `token` is for private repositories, or the key of the
    server; the default one is never sent to a server.
    """

    settings_type: ClassVar[type[Any]]
    open_model: ClassVar[Callable[..., Any]]

    model: str
    revision: str | None = None
    source: Source = "huggingface"
    local_files_only: bool = False
    trust_remote_code: bool = False
    safetensors_only: bool = True
    device: ComponentDevice | str | tuple[str, ...] | None = None
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
    token: Secret | str | None = TOKEN

    def __post_init__(self) -> None:
        """Refuse wrong settings; nothing is loaded."""
        if isinstance(self.token, str):
            self.token = Secret.from_token(self.token)
        values = {field.name: getattr(self, field.name) for field in fields(self.settings_type)}
        self.settings: SettingsT = self.settings_type(**{**values, "device": _names(self.device)})
        self._loaded: Any = None
        self._lock = Lock()
        self._models: dict[SettingsT, ModelT] = {}
        self._warm = False

    @classmethod
    def from_loaded(cls, loaded: Any, /, **parameters: Any) -> Self:  # noqa: ANN401 - two unrelated classes
        """Return a component around a sentence-transformers model that is loaded already.

        Args:
            loaded: a SentenceTransformer for an embedder, a CrossEncoder for the ranker.
            **parameters: any of the component's; `model` then only names it, by default as the
                model itself does.
        """
        name = getattr(loaded.transformers_model, "name_or_path", "")
        made = cls(**{"model": name, **parameters})
        made._loaded = loaded
        return made

    def warm_up(self) -> None:
        """Load the model and run it once, so that the first run does not wait for it."""
        if not self._warm:
            self._try(self._open(self.settings))
            self._warm = True

    async def warm_up_async(self) -> None:
        """Do what `warm_up` does, without blocking the event loop."""
        if not self._warm:
            await self._atry(self._open(self.settings))
            self._warm = True

    def close(self) -> None:
        """Give up the model, whose last holder frees its memory; a later run opens it again."""
        for model in self._give_up():
            model.close()

    async def close_async(self) -> None:
        """Do what `close` does."""
        for model in self._give_up():
            await model.aclose()

    def to_dict(self) -> dict[str, Any]:
        """Return every parameter in Haystack's form; a token only as a variable's name.

        Raises:
            SerializationError: the component was made by `from_loaded`.
            ValueError: the token is a plain one and not ``Secret.from_env_var``.
        """
        if self._loaded is not None:
            raise SerializationError(
                f"this {type(self).__name__} was made from a loaded model, which cannot be"
                " written down; save the model to a folder and give model=<folder>."
            )
        own = {field.name: getattr(self, field.name) for field in fields(self)}
        values = {**own, **self.settings.to_dict()}
        if isinstance(self.device, ComponentDevice):
            values["device"] = self.device
        return default_to_dict(self, **values)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Return the component that `to_dict` wrote."""
        return default_from_dict(cls, data)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle and copy as Haystack serialises: the copy opens its own model when it runs."""
        return type(self).from_dict, (self.to_dict(),)

    def _open(self, settings: SettingsT) -> ModelT:
        with self._lock:
            if settings not in self._models:
                self._models[settings] = self.open_model(
                    settings, token=self._secret(), loaded=self._loaded
                )
            return self._models[settings]

    def _secret(self) -> str | None:
        # The hub's token, which is the default, is no business of a server's.
        if self.server is not None and self.token == TOKEN:
            return None
        return self.token.resolve_value() if isinstance(self.token, Secret) else None

    def _give_up(self) -> list[ModelT]:
        with self._lock:
            models, self._models, self._warm = list(self._models.values()), {}, False
        return models

    def _try(self, model: ModelT) -> None:
        raise NotImplementedError

    async def _atry(self, model: ModelT) -> None:
        raise NotImplementedError


def _names(device: ComponentDevice | str | tuple[str, ...] | None) -> str | tuple[str, ...] | None:
    if not isinstance(device, ComponentDevice):
        return device
    if not device.has_multiple_devices:
        return device.to_torch_str()
    return tuple(dict.fromkeys(device.to_dict()["device_map"].values()))
