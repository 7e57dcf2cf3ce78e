"""From coroutines to worker threads, so that the event loop stays free."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import cache, partial
from threading import Event
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

WORKERS = 8
"""Most threads. Each that runs Python may hold the interpreter's lock for 5 ms before the event
loop gets its turn, so 32 of them would stall it for longer than anybody should wait."""


async def in_thread(function: Callable[..., R], *args: object, **kwargs: object) -> R:
    """Return what the function returns, run in a worker thread with the caller's context.

    The function gets a keyword `stop`, an event that is set when the caller is cancelled, so that
    it can leave off between two batches.
    """
    stop = Event()
    call = partial(copy_context().run, function, *args, stop=stop, **kwargs)
    try:
        return await asyncio.get_running_loop().run_in_executor(_pool(), call)
    except asyncio.CancelledError:
        stop.set()
        raise


@cache
def _pool() -> ThreadPoolExecutor:
    # Not asyncio's default executor: that is small, and a host's own work would wait behind ours.
    return ThreadPoolExecutor(WORKERS, thread_name_prefix="qwen-retrieval")


# A forked child has the pool object but none of its threads.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)
