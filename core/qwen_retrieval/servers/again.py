"""Whether a request that failed is sent again, and when."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

from qwen_retrieval.errors import ServerError, ServerRefusedError, ServerUnreachableError

BUSY = frozenset({408, 429, 502, 503, 504})
"""Statuses of a server that may have room or be there again in a moment."""

CERTIFICATE = "certificate verify failed"
"""OpenSSL's words; waiting does not help."""

FAILED = frozenset({424, 500})
"""Statuses of a computation that failed; once more, since the reason may be its neighbours."""


class Again:
    """Whether, and after how many seconds, a request is sent again."""

    def __init__(self, timeout: float) -> None:
        """Count the seconds that are left from now on."""
        self.last: Exception | None = None
        self._end = time.monotonic() + timeout
        self._failed = False

    def __call__(self, error: Exception) -> bool | float:
        """Return True or the seconds to wait, or False for giving up."""
        if isinstance(error, ServerError):  # else the deadline has cancelled it
            self.last = error
        if isinstance(error, ServerUnreachableError):
            return CERTIFICATE not in str(error)
        if not isinstance(error, ServerRefusedError):
            return False
        if error.status in FAILED:
            first, self._failed = not self._failed, True
            return first
        if error.status not in BUSY:
            return False
        if error.retry_after is None:
            return True
        # One that comes after the deadline is told at once.
        return error.retry_after if time.monotonic() + error.retry_after < self._end else False


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that a header names, as a number or as a date (RFC 9110, 10.2.3)."""
    value = headers.get("retry-after")
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - time.time()
        except ValueError:
            return None
    return max(seconds, 0.01) if math.isfinite(seconds) else None
