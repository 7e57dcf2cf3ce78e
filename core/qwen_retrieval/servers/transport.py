"""Requests to one server: bounded in time, size and number, tried again where that can help."""

from __future__ import annotations

import asyncio
import json
import logging
import ssl
import zlib
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
from qwen_retrieval.servers.again import CERTIFICATE, Again, retry_after
from qwen_retrieval.servers.words import MESSAGE_BYTES, Words, message

if TYPE_CHECKING:
    import httpx

    from qwen_retrieval.servers.engine import Request
    from qwen_retrieval.settings import ModelSettings

CONNECT_SECONDS = 10.0
"""A host that does not take a connection by then is tried again, or given up."""

FIRST_WAIT, LONGEST_WAIT, JITTER = 0.2, 10.0, 0.3
"""Seconds before a request is sent again, where the server names none: doubled each time."""


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
        self.words = Words(key)
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
            again = Again(self._settings.timeout)
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
                    location = self.words.clean(response.headers.get("location", ""))
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
                f" ({self.words.clean(content.decode(errors='replace'))!r}); check that base_url is"
                " the address of such a server, and what stands between."
            ) from None  # which holds the whole answer

    async def _content(
        self, response: httpx.Response, where: str, most: int, *, cut: bool = False
    ) -> bytes:
        """Return the body, decompressed here: a small one can become any number of bytes."""
        encoding = response.headers.get("content-encoding", "identity").strip().lower()
        if encoding not in {"gzip", "deflate", "identity", ""}:
            raise ServerAnswerError(
                f"{self.title} at {where} answers in the encoding"
                f" {self.words.clean(encoding)!r:.40}, which was not asked for; check what stands"
                " between."
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
                        return self.words.without_half_a_key(bytes(content[:most]))
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
        words = self.words.clean(message(content)) or self.words.clean(response.reason_phrase)
        waits = retry_after(response.headers)
        asks = "" if waits is None else f" and asks to wait {waits:g} s"
        error = kind(
            f"{self.title} at {where} answers with status {status} ({words}){asks};"
            f" {_remedy(status)}."
        )
        error.status, error.words, error.retry_after = status, words, waits
        return error

    def _unreachable(self, where: str, error: Exception) -> ServerUnreachableError:
        words = self.words.clean(str(error))
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


_JSON = {"content-type": "application/json"}

# Which logs each retry: without any handler, Python would write that to stderr.
logging.getLogger("stamina").addHandler(logging.NullHandler())


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
