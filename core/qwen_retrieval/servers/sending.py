"""A call's items, batch by batch, several requests at once; what is too large is sent in parts."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from qwen_retrieval.errors import ServerAnswerError, ServerRefusedError
from qwen_retrieval.progress import progress
from qwen_retrieval.servers.reading import UnreadableError

if TYPE_CHECKING:
    from qwen_retrieval.servers.engine import Request
    from qwen_retrieval.servers.transport import Transport

SPARE_BYTES = 1_000_000
"""Of an answer beside its results: names, counts, error codes."""

TOKEN_BYTES = 8
"""Of a token of text that a server sends back, at most."""

TOO_LARGE = ("too large", "too many", "too big", "batch", "exceed", "at most", "maximum", "limit")
"""Words by which a server that answers 400 means the size of the request."""


@dataclass(slots=True)
class Room:
    """How many items a server has turned out to take in one request."""

    items: int | None = None


@dataclass(slots=True)
class Sending:
    """What one call sends.

    Attributes:
        transport: to the server.
        room: what is known of the server, for this call and the next.
        items: prepared sequences.
        lengths: tokens of each.
        request: for a batch of items.
        read: the results in an answer to so many items; may raise `UnreadableError`.
        item_bytes: that an item's result takes, at most.
    """

    transport: Transport
    room: Room
    items: Sequence[Any]
    lengths: Sequence[int]
    request: Callable[[list[Any]], Request]
    read: Callable[[Any, int], Sequence[Any]]
    item_bytes: int
    results: list[Any] = field(init=False)
    _bar: Any = field(init=False, default=None)

    def __post_init__(self) -> None:
        """Make a place for every result."""
        self.results = [None] * len(self.items)

    async def run(
        self, batches: Sequence[Sequence[int]], concurrency: int, *, progress_bar: bool
    ) -> list[Any]:
        """Return every item's result, in the items' order.

        Args:
            batches: places of the items that share a request.
            concurrency: requests of this call under way at once.
            progress_bar: over the items.

        Raises:
            ServerError: the first; the requests under way are then cancelled.
        """
        queue = deque(batches)

        async def draw() -> None:
            while queue:
                await self._send(queue.popleft())

        with progress(len(self.items), shown=progress_bar) as self._bar:
            try:
                async with asyncio.TaskGroup() as group:
                    for _ in range(min(concurrency, len(queue))):
                        group.create_task(draw())
            except BaseExceptionGroup as errors:
                raise _first(errors) from None
        return self.results

    async def _send(self, batch: Sequence[int]) -> None:
        if self.room.items is not None and len(batch) > self.room.items:
            await self._halves(batch)
            return
        asked = self.request([self.items[place] for place in batch])
        most = SPARE_BYTES + len(batch) * self.item_bytes
        most += TOKEN_BYTES * sum(self.lengths[place] for place in batch)
        try:
            answer = await self.transport.ask(asked, most)
        except ServerRefusedError as error:
            if len(batch) == 1 or not _too_large(error):
                raise
            await self._halves(batch)
            # Not before: where one alone is refused too, it was not the size.
            half = (len(batch) + 1) // 2
            self.room.items = half if self.room.items is None else min(half, self.room.items)
            return
        self._note(batch, asked, answer)

    async def _halves(self, batch: Sequence[int]) -> None:
        half = (len(batch) + 1) // 2
        await self._send(batch[:half])
        await self._send(batch[half:])

    def _note(self, batch: Sequence[int], asked: Request, answer: object) -> None:
        try:
            rows = self.read(answer, len(batch))
        except UnreadableError as error:
            raise ServerAnswerError(
                f"{self.transport.title} at {self.transport.root}{asked.path} gives a wrong answer"
                f" to {len(batch)} items: {error.told(self.transport.words.shown)}; check server="
                " and base_url, and how the server was started."
            ) from None
        for place, row in zip(batch, rows, strict=True):
            self.results[place] = row
        if self._bar is not None:
            self._bar.update(len(batch))


def _too_large(error: ServerRefusedError) -> bool:
    if error.status in {413, 422}:
        return True
    words = error.words.lower()
    return error.status == 400 and any(word in words for word in TOO_LARGE)  # noqa: PLR2004


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the first error of several requests; the others were cancelled or are like it."""
    first: BaseException = errors
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    return first
