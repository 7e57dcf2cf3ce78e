"""What the embedder and the reranker over a server have in common: finding out, asking, closing."""

from __future__ import annotations

import asyncio
import os
import re
import weakref
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

from qwen_retrieval.batches import plan
from qwen_retrieval.errors import (
    ClosedError,
    ServerAnswerError,
    ServerRefusedError,
    SettingsError,
)
from qwen_retrieval.servers import background
from qwen_retrieval.servers.engine import Served
from qwen_retrieval.servers.sending import Room, Sending
from qwen_retrieval.servers.tokenizer import ServedModel, read_model
from qwen_retrieval.servers.transport import Transport
from qwen_retrieval.threads import in_thread

if TYPE_CHECKING:
    from qwen_retrieval.servers.engine import EmbeddingEngine, Request, RerankEngine
    from qwen_retrieval.settings import ModelSettings
    from qwen_retrieval.stages import Work

S = TypeVar("S", bound="ModelSettings")
E = TypeVar("E", bound="EmbeddingEngine | RerankEngine")
R = TypeVar("R")
Check: TypeAlias = Callable[[S, str | None], None]
"""Raises where a server, named by settings and key, is not to be used."""

BATCH_TOKENS = 16_384
KEY_VARIABLE = "QWEN_RETRIEVAL_API_KEY"
LISTING_BYTES = 4_000_000


class ServerHandle(Generic[S, E]):
    """One holder of connections to a server."""

    def __init__(
        self, settings: S, token: str | None, engine: E, check: Check[S] | None = None
    ) -> None:
        require_extra()
        self.settings = settings
        self._engine = engine
        self._token = token
        self._check = check
        self._transport = Transport(settings, root(settings, engine), engine.title, self._key())
        self._model: ServedModel | None = None
        self._found: Served | None = None
        self._finding = asyncio.Lock()
        self._room = Room()
        self._active = 0
        self._closed = False
        # Of a handle that nobody closed, except at the end of the program, which closes all.
        weakref.finalize(self, _let_go, self._transport).atexit = False

    def close(self) -> None:
        """Close the connections. Calls under way end normally; later ones raise `ClosedError`."""
        background.run(self._close())

    async def aclose(self) -> None:
        """Do what `close` does."""
        await background.arun(self._close())

    @property
    def engine(self) -> E:
        """What the engine's module says."""
        return self._engine

    def served(self) -> Served:
        """Return the model as the server names it."""
        return self._run(self._known())[1]

    def ask(self, request: Request) -> Any:  # noqa: ANN401 - JSON
        """Return the answer to a request of the caller's own, with this handle's key and bounds."""
        return self._run(self._transport.ask(request, LISTING_BYTES))

    def shown(self, found: object) -> str:
        """Return the beginning of what the server answered, without this handle's key."""
        return self._transport.words.shown(found)

    def __reduce__(self) -> tuple[Callable[[S], Any], tuple[S]]:
        """Pickle the settings alone: no key and no connection travels."""
        return (partial(type(self), check=self._check), (self.settings,))

    @property
    def _remedy(self) -> str:
        """What to do where a result is no number."""
        return (
            f"the usual cause is that {self._engine.title} at {self._transport.root} computes in"
            " float16: start it with float32 or bfloat16"
        )

    def _run(self, work: Coroutine[Any, Any, R]) -> R:
        return background.run(self._counted(work))

    async def _arun(self, work: Coroutine[Any, Any, R]) -> R:
        return await background.arun(self._counted(work))

    async def _counted(self, work: Coroutine[Any, Any, R]) -> R:
        """Return what the work returns; the last to end closes a closed handle's connections."""
        if self._closed:
            work.close()
            raise ClosedError(f"this model ({self.settings.model}) is closed; open it again.")
        self._active += 1
        try:
            return await work
        finally:
            self._active -= 1
            if self._closed and self._active == 0:
                await self._transport.close()

    async def _close(self) -> None:
        self._closed = True
        if self._active == 0:
            await self._transport.close()

    async def _known(self) -> tuple[ServedModel, Served]:
        """Return what is known of the model: here from its files, and from the server itself."""
        model = await self._files()
        if self._found is None:
            async with self._finding:
                if self._found is None:
                    if self._check is not None:
                        check, settings, token = self._check, self.settings, self._token
                        # Not in our own threads: it uses them itself, and all could wait for one.
                        await asyncio.to_thread(check, settings, token)
                    self._found = await self._find()
        return model, self._found

    async def _files(self) -> ServedModel:
        """Return what the model's files say, read once."""
        if self._model is None:
            async with self._finding:
                if self._model is None:
                    self._model = await in_thread(lambda stop: self._read())  # noqa: ARG005
        return self._model

    def _read(self) -> ServedModel:
        return read_model(self.settings)

    def _context(self, model: ServedModel, served: Served) -> int | None:
        """Return the tokens that a sequence may have there."""
        limits = (model.context, served.context, self._engine.context)
        return min((limit for limit in limits if limit is not None), default=None)

    async def _find(self) -> Served:
        """Return the served model: the one asked for, `model` if it is there, or the only one."""
        engine, asked = self._engine, self.settings.served_model
        listed: list[Served] = []
        if engine.listing is not None:
            listed = await self._listed(engine.listing)
        name = self.settings.model if asked is None else asked
        for each in listed:
            if each.model == name:
                return each
        if asked is not None:  # an alias, perhaps, of the only one, whose limits then hold
            return replace(listed[0], model=asked) if len(listed) == 1 else Served(asked)
        if len(listed) == 1:
            return listed[0]
        if not listed:
            return Served(name if engine.default_model is None else engine.default_model)
        raise SettingsError(
            f"{engine.title} at {self._transport.root} has no model {name!r}; it has"
            f" {self._transport.words.shown([each.model for each in listed])}: choose one as"
            " served_model=."
        )

    async def _listed(self, listing: Request) -> list[Served]:
        try:
            answer = await self._transport.ask(listing, LISTING_BYTES)
        except ServerRefusedError as error:
            if error.status in {404, 405}:  # an older server, or one behind a proxy
                return []
            raise
        try:
            return self._engine.read_listing(answer)
        except (AttributeError, KeyError, TypeError, ValueError):
            raise ServerAnswerError(
                f"{self._engine.title} at {self._transport.root}{listing.path} answers something"
                f" other than what it serves ({self._transport.words.shown(answer)}); is"
                f" server={self.settings.server!r} right?"
            ) from None

    async def _results(
        self,
        work: Work,
        groups: Sequence[Sequence[int]],
        request: Callable[[list[Any]], Request],
        read: Callable[[Any, int], Sequence[Any]],
        item_bytes: int,
    ) -> list[Any]:
        """Return the result of every item, in the items' order; see `Sending`.

        `groups` holds the places of the items that may share a request.
        """
        settings, (_, served) = self.settings, await self._known()
        limits = (settings.batch_size, served.batch, self._engine.batch)
        size = min(limit for limit in limits if limit is not None)
        tokens = BATCH_TOKENS if settings.batch_tokens is None else settings.batch_tokens
        batches = [
            [group[place] for place in batch]
            for group in groups
            for batch in plan([work.lengths[place] for place in group], size, tokens)
        ]
        sending = Sending(
            self._transport, self._room, work.items, work.lengths, request, read, item_bytes
        )
        return await sending.run(
            batches, settings.max_concurrency, progress_bar=settings.progress_bar
        )

    def _key(self) -> str | None:
        # The library's own first: it was set for this, another service's for something else.
        names = (KEY_VARIABLE, self._engine.key_variable)
        found = self._token
        for name in names:
            if found is None and name is not None:
                found = os.environ.get(name) or None
        if found is None or (re.fullmatch("[!-~]+", found)):
            return found
        raise SettingsError(
            "the server's key is empty or holds characters that no key has, such as a line break or"
            " a space; give it as it was issued."
        )


def _let_go(transport: Transport) -> None:
    if transport.is_open:
        background.start(transport.close())


def root(settings: ModelSettings, engine: EmbeddingEngine | RerankEngine) -> str:
    """Return the address that an engine's paths follow."""
    base = engine.default_url if settings.base_url is None else settings.base_url
    assert base is not None  # noqa: S101 - the settings ask for one wherever there is no default
    base = base.rstrip("/")
    if engine.version == "strip":
        return base.removesuffix("/v1")  # as OpenAI's clients want it, but not all paths have it
    bare = "/" not in base.split("://", 1)[1]
    return f"{base}/v1" if bare and engine.version == "add" else base


def require_extra() -> None:
    """Raise ImportError naming the extra where its packages are missing."""
    missing = [name for name in ("httpx", "stamina") if find_spec(name) is None]
    if missing:
        raise ImportError(
            f"a server needs {' and '.join(missing)}: pip install 'qwen-retrieval[servers]'"
        )
