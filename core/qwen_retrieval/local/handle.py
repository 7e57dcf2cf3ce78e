"""What the local embedder and the local reranker have in common: opening late, closing, async."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from qwen_retrieval.batches import plan
from qwen_retrieval.errors import ClosedError, SettingsError
from qwen_retrieval.local.batching import Replica, run
from qwen_retrieval.local.loading import devices
from qwen_retrieval.local.weights import Shelf
from qwen_retrieval.threads import in_thread

if TYPE_CHECKING:
    from threading import Event

    from qwen_retrieval.local.batching import Result
    from qwen_retrieval.settings import ModelSettings
    from qwen_retrieval.stages import Work


class LocalReplica(Replica, Protocol):
    """A replica that also says how long a sequence may be."""

    name: str
    context: int | None
    on_cpu: bool


R = TypeVar("R", bound=LocalReplica)
S = TypeVar("S", bound="ModelSettings")

CPU_BATCH_TOKENS = 1024
"""Products of 256 rows and more are equally fast there; measured with the 0.6B shape."""
BATCH_TOKENS = 16_384

SHARED_BY = (
    "model", "revision", "source", "local_files_only", "trust_remote_code", "safetensors_only",
    "dtype", "precision", "attention", "backend",
)  # fmt: skip
"""The settings that determine loaded weights, beside the devices; dimensions do not."""


class Handle(Generic[S, R]):
    """One holder of shared replicas."""

    shelf: Shelf[R]

    def __init__(self, settings: S, token: str | None, loaded: Any) -> None:  # noqa: ANN401
        if loaded is not None and settings.precision is not None:
            raise SettingsError(
                f"precision is {settings.precision!r}, but a model already loaded is used as it is;"
                " leave precision out, or give the model's folder as model=."
            )
        self.settings = settings
        self._token = token
        self._loaded = loaded
        self._is_borrowed = loaded is not None
        self._guard = Lock()
        self._held: list[R] | None = None
        self._key: tuple[object, ...] = ()
        self._closed = False

    def load(self) -> list[R]:
        """Return one replica for each device."""
        raise NotImplementedError

    def key(self) -> tuple[object, ...]:
        """Return what the weights are shared by, of devices those that are really meant."""
        if self._loaded is not None:
            return (id(self._loaded),)
        wanted = (getattr(self.settings, name) for name in SHARED_BY)
        return (devices(self.settings), *wanted)

    def replicas(self) -> list[R]:
        """Return the replicas, loading them at the first call."""
        held = self._held
        if held is not None:
            return held
        with self._guard:
            if self._closed:
                raise ClosedError(f"this model ({self.settings.model}) is closed; open it again.")
            if self._held is None:
                key = self.key()
                self._held = self.shelf.acquire(key, self.load)
                self._key = key
            return self._held

    def close(self) -> None:
        """Give up the weights; the last holder frees them. Calls under way end normally."""
        with self._guard:
            if self._held is not None:
                self._held = None
                self.shelf.release(self._key)
            self._closed = True
            self._loaded = None

    async def aclose(self) -> None:
        """Do what `close` does, in a worker thread: it waits while the model is being loaded."""
        await in_thread(lambda stop: self.close())  # noqa: ARG005 - nothing to leave off

    def __reduce__(self) -> tuple[type, tuple[S]]:
        """Pickle the settings alone: neither token nor weights travel."""
        if self._is_borrowed:
            raise SettingsError(
                "an embedder or reranker around an already loaded model cannot be pickled; save the"
                " model to a folder and give that as model=."
            )
        return (type(self), (self.settings,))

    def __del__(self) -> None:
        """Give up the weights of a handle that nobody closed."""
        if getattr(self, "_held", None) is not None:
            self.close()

    def _run(
        self,
        replicas: list[R],
        work: Work,
        stop: Event | None,
        waves: Sequence[Sequence[int]] | None = None,
    ) -> list[Result]:
        """Return every item's result; a wave's batches are begun before those of the next."""
        settings, tokens = self.settings, self.settings.batch_tokens
        items, lengths = work.items, work.lengths
        if tokens is None:
            tokens = CPU_BATCH_TOKENS if any(r.on_cpu for r in replicas) else BATCH_TOKENS
        batches = [
            [wave[place] for place in batch]
            for wave in ([range(len(items))] if waves is None else waves)
            for batch in plan([lengths[place] for place in wave], settings.batch_size, tokens)
        ]
        return run(batches, items, lengths, replicas, progress_bar=settings.progress_bar, stop=stop)
