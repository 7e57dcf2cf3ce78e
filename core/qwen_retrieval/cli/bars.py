"""Progress on the terminal: a bar a stage with its rate, nothing where nobody would see it."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text


class Rate(ProgressColumn):
    """Steps a second."""

    def render(self, task: Task) -> Text:
        """Return the rate, once there is one."""
        speed = task.finished_speed if task.finished_speed is not None else task.speed
        return Text("" if speed is None else f"{speed:,.1f}/s", style="progress.data.speed")


class Bars:
    """Shows the stages of an evaluation on standard error, if that is a terminal."""

    def __init__(self, console: Console) -> None:
        """Take the console of standard error."""
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            Rate(),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def begin(self, stage: str, total: int, done: int) -> None:
        """Begin a bar; what an earlier run has left counts as done."""
        self._task = self._progress.add_task(stage, total=total, completed=done)

    def advance(self, steps: int) -> None:
        """Move the bar on."""
        if self._task is not None:
            self._progress.advance(self._task, steps)

    def end(self) -> None:
        """Leave the bar as it is."""
        if self._task is not None:
            self._progress.stop_task(self._task)
        self._task = None
