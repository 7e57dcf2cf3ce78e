"""Requests to one server: bounded in time, size and number, tried again where that can help."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import ssl
import time
import zlib
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from qwen_retrieval.errors import (
    ServerAccessError,
    ServerAnswerError,
    ServerError,
    ServerRefusedError,
    ServerTimeoutError,
    ServerUnreachableError,
    SettingsError,
)

if TYPE_CHECKING:
    import httpx

    from qwen_retrieval.servers.engine import Request
    from qwen_retrieval.settings import ModelSettings

CONNECT_SECONDS = 10.0
"""A host that does not take a connection by then is tried again, or given up."""

MESSAGE_BYTES = 65_536
"""Read of an answer that is an error."""

FIRST_WAIT, LONGEST_WAIT, JITTER = 0.2, 10.0, 0.3
"""Seconds before a request is sent again, where the server names none: doubled each time."""

MESSAGE = 300
"""Characters of a server's own words in a message, at most."""

BUSY = frozenset({408, 429, 502, 503, 504})
"""Statuses of a server that may have room or be there again in a moment."""

CERTIFICATE = "certificate verify failed"
"""OpenSSL's words; waiting does not help."""

FAILED = frozenset({424, 500})
"""Statuses of a computation that failed; once more, since the reason may be its neighbours."""


class Transport:
    """A pool of connections to one server.

    Its methods run in the loop of `qwen_retrieval.servers.background` only.
    """

    def __init__(self, settings: ModelSettings, root: str, title: str, key: str | None) -> None:
        """Open nothing yet.

        Args:
            settings: its `timeout`, `max_retries`, `max_concurrency` and `verify_tls`.
            root: the address that paths follow.
            title: of the server, for messages.
            key: sent to this server and nowhere else.
        """
        self._settings = settings
        self.root = root
        self.title = title
        self._key = key
        self._loop: asyncio.AbstractEventLoop | None = None
        self._client: httpx.AsyncClient | None = None
        self._turns = asyncio.Semaphore(settings.max_concurrency)

    async def ask(self, request: Request, most_bytes: int) -> Any:  # noqa: ANN401 - JSON
        """Return the JSON that the server answers.

        Args:
            request: sent again where that can help, within `timeout`.
            most_bytes: of the answer, decompressed; a longer one is not read to its end.

        Raises:
            ServerUnreachableError: nobody answers, or the connection breaks.
            ServerTimeoutError: not within `timeout`.
            ServerRefusedError: the status is an error.
            ServerAnswerError: the answer is no JSON, too long, or a redirect.
        """
        import stamina  # noqa: PLC0415 - an optional extra

        client = self._opened()
        body = None
        if request.body is not None:
            body = json.dumps(request.body, ensure_ascii=False, separators=(",", ":")).encode()
        where = self.root + request.path
        async with self._turns:
            again = _Again(self._settings.timeout)
            try:
                async with asyncio.timeout(self._settings.timeout):
                    async for attempt in stamina.retry_context(
                        on=again,
                        attempts=self._settings.max_retries + 1,
                        timeout=None,
                        wait_initial=FIRST_WAIT,
                        wait_max=LONGEST_WAIT,
                        wait_jitter=JITTER,
                    ):
                        with attempt:
                            return await self._once(client, where, body, most_bytes)
            except TimeoutError as error:
                if isinstance(error, ServerError):
                    raise
                raise self._too_late(where, again.last) from None
        raise AssertionError("unreachable: the last attempt raises")

    @property
    def is_open(self) -> bool:
        """Whether there are connections to close."""
        return self._client is not None

    async def close(self) -> None:
        """Close the connections."""
        client, self._client = self._client, None
        if client is not None and self._loop is asyncio.get_running_loop():
            await client.aclose()

    def _opened(self) -> httpx.AsyncClient:
        import httpx  # noqa: PLC0415 - an optional extra

        loop = asyncio.get_running_loop()
        if self._client is None or self._loop is not loop:  # in a forked child it is another
            headers = {"accept": "application/json", "accept-encoding": "gzip"}
            if self._key is not None:
                headers["authorization"] = f"Bearer {self._key}"
            self._client = httpx.AsyncClient(
                headers=headers,
                verify=self._certificates(),
                timeout=httpx.Timeout(None, connect=CONNECT_SECONDS),  # `ask` bounds the whole
                limits=httpx.Limits(max_connections=self._settings.max_concurrency),
                follow_redirects=False,
            )
            self._loop = loop
            self._turns = asyncio.Semaphore(self._settings.max_concurrency)
        return self._client

    async def _once(
        self, client: httpx.AsyncClient, where: str, body: bytes | None, most_bytes: int
    ) -> Any:  # noqa: ANN401 - JSON
        import httpx  # noqa: PLC0415 - an optional extra

        method, headers = ("GET", {}) if body is None else ("POST", _JSON)
        try:
            async with client.stream(method, where, content=body, headers=headers) as response:
                if response.is_redirect:
                    location = self.clean(response.headers.get("location", ""))
                    raise ServerAnswerError(
                        f"{self.title} at {where} redirects (status {response.status_code}) to"
                        f" {location!r}, which is not followed, since the key is for this host"
                        " only; give base_url= the final address."
                    )
                if response.is_error:
                    content = await self._content(response, where, MESSAGE_BYTES, cut=True)
                    raise self._refused(where, response, content)
                content = await self._content(response, where, most_bytes)
        except (httpx.TransportError, httpx.StreamError) as error:
            raise self._unreachable(where, error) from None  # its words may hold the key
        try:
            return json.loads(content)
        except (ValueError, RecursionError):
            raise ServerAnswerError(
                f"{self.title} at {where} answers something that is no JSON"
                f" ({self.clean(content.decode(errors='replace'))!r}); check that base_url is the"
                " address of such a server, and what stands between."
            ) from None  # which holds the whole answer

    async def _content(
        self, response: httpx.Response, where: str, most: int, *, cut: bool = False
    ) -> bytes:
        """Return the body, decompressed here: a small one can become any number of bytes."""
        encoding = response.headers.get("content-encoding", "identity").strip().lower()
        if encoding not in {"gzip", "deflate", "identity", ""}:
            raise ServerAnswerError(
                f"{self.title} at {where} answers in the encoding {self.clean(encoding)!r:.40},"
                " which was not asked for; check what stands between."
            )
        decoder = zlib.decompressobj(47) if encoding in {"gzip", "deflate"} else None  # either
        content = bytearray()
        try:
            async for chunk in response.aiter_raw():
                if decoder is not None and decoder.eof:
                    continue  # what follows is no part of the answer; it would be kept as unused
                room = most + 1 - len(content)
                content += chunk if decoder is None else decoder.decompress(chunk, room)
                if len(content) > most:
                    if cut:
                        return self._without_half_a_key(bytes(content[:most]))
                    raise ServerAnswerError(
                        f"{self.title} at {where} answers more than {most} bytes, far more than"
                        " what was asked for can take, so the rest is not read; check base_url and"
                        " server=."
                    )
        except zlib.error as error:
            raise ServerAnswerError(
                f"{self.title} at {where} answers {encoding} data that is corrupt ({error}); check"
                " what stands between."
            ) from error
        if decoder is not None and not decoder.eof:
            raise ServerUnreachableError(
                f"{self.title} at {where} breaks off in the middle of its answer; check the"
                " server and the network."
            )
        return bytes(content)

    def _refused(self, where: str, response: httpx.Response, content: bytes) -> ServerRefusedError:
        status = response.status_code
        kind = ServerAccessError if status in {401, 403} else ServerRefusedError
        words = self.clean(_message(content)) or self.clean(response.reason_phrase)
        waits = _retry_after(response.headers)
        asks = "" if waits is None else f" and asks to wait {waits:g} s"
        error = kind(
            f"{self.title} at {where} answers with status {status} ({words}){asks};"
            f" {_remedy(status)}."
        )
        error.status, error.words, error.retry_after = status, words, waits
        return error

    def _unreachable(self, where: str, error: Exception) -> ServerUnreachableError:
        words = self.clean(str(error))
        remedy = "check base_url, that the server runs, and the network"
        if CERTIFICATE in words:
            remedy = "name a file with its authority as verify_tls=, if you trust it"
        return ServerUnreachableError(
            f"{self.title} at {where} does not answer ({type(error).__name__}: {words}); {remedy}."
        )

    def _too_late(self, where: str, last: Exception | None) -> ServerTimeoutError:
        before = "" if last is None else f" The attempt before failed: {last}"
        return ServerTimeoutError(
            f"{self.title} at {where} gives no answer within timeout={self._settings.timeout:g} s;"
            f" raise timeout, lower batch_size, or look at the server's load.{before}"
        )

    def _certificates(self) -> bool | ssl.SSLContext:
        """Return what certificates are checked against, as httpx takes it."""
        trusted = self._settings.verify_tls
        if urlsplit(self.root).scheme != "https":  # which may be written in capitals
            return False  # there are none, and reading the authorities takes a tenth of a second
        if isinstance(trusted, bool):
            return trusted
        try:
            return ssl.create_default_context(cafile=trusted)
        except (OSError, ValueError) as error:
            raise SettingsError(
                f"verify_tls is {trusted!r}, which cannot be read as a file of certificates"
                f" ({error}); give the path of one in PEM format."
            ) from error

    def clean(self, words: str) -> str:
        """Return words of the server on one line, without the key, and only then shortened."""
        for key in _written(self._key):
            words = words.replace(key, "…")
        line = " ".join(words[:MESSAGE_BYTES].split())
        return line if len(line) <= MESSAGE else f"{line[:MESSAGE]}…"

    def shown(self, found: object) -> str:
        """Return the beginning of what a server answered, cleaned."""
        text = ""
        # Piece by piece, since the whole may be large, and a piece holds the key or does not.
        for piece in json.JSONEncoder(ensure_ascii=False, default=repr).iterencode(found):
            text += self.clean(piece)
            if len(text) > MESSAGE:
                break
        return self.clean(text)

    def _without_half_a_key(self, content: bytes) -> bytes:
        """Return what was cut without a beginning of the key at its end."""
        key = (self._key or "").encode()
        beginnings = (key[:length] for length in range(len(key) - 1, 0, -1))
        return content.removesuffix(next(filter(content.endswith, beginnings), b""))


class _Again:
    """Whether, and after how many seconds, a request is sent again."""

    def __init__(self, timeout: float) -> None:
        self.last: Exception | None = None
        self._end = time.monotonic() + timeout
        self._failed = False

    def __call__(self, error: Exception) -> bool | float:
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


_JSON = {"content-type": "application/json"}

# Which logs each retry: without any handler, Python would write that to stderr.
logging.getLogger("stamina").addHandler(logging.NullHandler())


def _written(key: str | None) -> set[str]:
    """Return the ways in which a key may be written in an answer."""
    if not key:
        return set()
    return {key, repr(key)[1:-1], json.dumps(key)[1:-1], key.replace("/", r"\/")}


def _message(content: bytes) -> str:
    """Return the server's own words from the many shapes in which they come."""
    text = content.decode(errors="replace")
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return text
    if isinstance(found, dict):
        found = next((found[n] for n in ("error", "message", "detail") if found.get(n)), found)
    if isinstance(found, dict):
        found = found.get("message", found)
    return found if isinstance(found, str) else json.dumps(found, ensure_ascii=False)


def _retry_after(headers: Mapping[str, str]) -> float | None:
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


def _remedy(status: int) -> str:
    match status:
        case 401 | 403:
            return "give its key as token=, or in the environment variable QWEN_RETRIEVAL_API_KEY"
        case 404 | 405 | 501:
            return "check base_url, server=, served_model=, and how the server was started"
        case 413 | 422 | 400:
            return "see the server's own words; lower max_length or batch_size if it is the size"
        case 429 | 503:
            return "lower max_concurrency or batch_size, or raise max_retries and timeout"
        case _:
            return "see the server's log"
