"""Loaded models, shared by what determines them and counted by who holds them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock, RLock
from typing import Generic, TypeVar

R = TypeVar("R")


@dataclass(slots=True)
class _Shared(Generic[R]):
    holders: int = 0
    replicas: list[R] = field(default_factory=list)
    loading: Lock = field(default_factory=Lock)


class Shelf(Generic[R]):
    """Holds the replicas of each key as long as somebody has acquired them."""

    def __init__(self) -> None:
        # Reentrant: the collector may run here and give up a handle that nobody closed.
        self._guard = RLock()
        self._shared: dict[object, _Shared[R]] = {}

    def acquire(self, key: object, load: Callable[[], list[R]]) -> list[R]:
        """Return the key's replicas, loading them if nobody holds them; loads once at a time."""
        with self._guard:
            shared = self._shared.setdefault(key, _Shared())
            shared.holders += 1
        try:
            with shared.loading:
                if not shared.replicas:
                    shared.replicas.extend(load())
        except BaseException:
            self.release(key)
            raise
        return shared.replicas

    def release(self, key: object) -> None:
        """Give up one hold; with the last one the shelf lets the replicas go."""
        with self._guard:
            shared = self._shared[key]
            shared.holders -= 1
            if shared.holders == 0:
                del self._shared[key]

    def __len__(self) -> int:
        """Return how many different models are held."""
        return len(self._shared)
