"""A lock that serves in the order of arrival."""

from __future__ import annotations

from collections import deque
from threading import Lock
from typing import Self


class Turnstile:
    """Lets one thread through at a time, first come first served.

    `threading.Lock` promises no order: a thread that computes batch after batch releases it and
    takes it again at once, and a single query behind it starves. Here the query is next.
    """

    def __init__(self) -> None:
        self._guard = Lock()
        self._busy = False
        self._waiting: deque[Lock] = deque()

    def __enter__(self) -> Self:
        with self._guard:
            if not self._busy:
                self._busy = True
                return self
            ticket = Lock()
            ticket.acquire()
            self._waiting.append(ticket)
        try:
            ticket.acquire()  # until the thread before hands over
        except BaseException:  # Ctrl-C: nobody may hand over to a thread that has left
            self._leave(ticket)
            raise
        return self

    def _leave(self, ticket: Lock) -> None:
        with self._guard:
            if ticket in self._waiting:
                self._waiting.remove(ticket)
                return
        self._hand_over()  # it was this thread's turn already

    def __exit__(self, *_: object) -> None:
        self._hand_over()

    def _hand_over(self) -> None:
        with self._guard:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._busy = False
