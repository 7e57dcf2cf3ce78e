"""How far a long run has come, told to whoever wants to show it."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Is told of stages; what it does with them is its own affair."""

    def begin(self, stage: str, total: int, done: int) -> None:
        """Hear that a stage of `total` steps begins, `done` of which an earlier run has left."""

    def advance(self, steps: int) -> None:
        """Hear that so many more steps of the stage are done."""

    def end(self) -> None:
        """Hear that the stage is over."""


class Quiet:
    """Shows nothing."""

    def begin(self, stage: str, total: int, done: int) -> None:
        """Do nothing."""

    def advance(self, steps: int) -> None:
        """Do nothing."""

    def end(self) -> None:
        """Do nothing."""
