"""A lock that serves in the order of arrival, and short work first."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock


class Turnstile:
    """Lets one thread through at a time, first come first served.

    `threading.Lock` promises no order: a thread that computes batch after batch releases it and
    takes it again at once, and a single query behind it starves. Here the query is next, also when
    many threads wait with batches: what is short passes them. After a few of these a batch has its
    turn, so that batches do not starve either.
    """

    SHORT_IN_A_ROW = 4

    def __init__(self) -> None:
        self._guard = Lock()
        self._busy = False
        self._waiting: deque[Lock] = deque()
        self._short: deque[Lock] = deque()
        self._short_served = 0

    @contextmanager
    def turn(self, *, short: bool = False) -> Iterator[None]:
        """Wait for a turn and hold it within the block.

        Args:
            short: whether the work is small against a batch, and may pass those that wait.
        """
        self._wait(short=short)
        try:
            yield
        finally:
            self._hand_over()

    def _wait(self, *, short: bool) -> None:
        with self._guard:
            if not self._busy:
                self._busy = True
                return
            ticket = Lock()
            ticket.acquire()
            (self._short if short else self._waiting).append(ticket)
        try:
            ticket.acquire()  # until the thread before hands over
        except BaseException:  # Ctrl-C: nobody may hand over to a thread that has left
            self._leave(ticket)
            raise

    def _leave(self, ticket: Lock) -> None:
        with self._guard:
            for queue in (self._waiting, self._short):
                if ticket in queue:
                    queue.remove(ticket)
                    return
        self._hand_over()  # it was this thread's turn already

    def _hand_over(self) -> None:
        with self._guard:
            passes = self._short and (not self._waiting or self._short_served < self.SHORT_IN_A_ROW)
            self._short_served = self._short_served + 1 if passes else 0
            queue = self._short if passes else self._waiting
            if queue:
                queue.popleft().release()
            else:
                self._busy = False
