"""One event loop in a thread of its own, in which all requests of the process are made.

Synchronous and asynchronous callers, in whatever thread or loop, share its connections and its
bound on requests under way; a loop that lives for one call only (``asyncio.run``) leaves nothing
behind. A cancelled caller cancels the work there.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Coroutine
from functools import cache
from typing import Any, TypeVar

T = TypeVar("T")


def run(work: Coroutine[Any, Any, T]) -> T:
    """Return what the work returns, waiting for it in this thread."""
    future = asyncio.run_coroutine_threadsafe(work, _loop())
    try:
        return future.result()
    except BaseException:  # Ctrl-C too: nobody waits any longer
        future.cancel()
        raise


async def arun(work: Coroutine[Any, Any, T]) -> T:
    """Return what the work returns; if the caller is cancelled, so is the work."""
    return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, _loop()))


def start(work: Coroutine[Any, Any, object]) -> None:
    """Let the work be done, without waiting for it."""
    asyncio.run_coroutine_threadsafe(work, _loop())


_STARTING = threading.RLock()  # the collector may run here and close what nobody closed


def _loop() -> asyncio.AbstractEventLoop:
    with _STARTING:  # two threads must not start two
        return _started()


@cache
def _started() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="qwen-retrieval-http", daemon=True).start()
    return loop


# A forked child has the loop object but not its thread.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_started.cache_clear)
