"""What every engine has: routes, a key, an error's shape, and its own way with a NaN."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from threading import BoundedSemaphore
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from servers.computing import Computing, Text, TooLong
from servers.networks import EMBEDDER, RERANKER
from servers.setup import Kind, Setup

Body = dict[str, Any]
Handler = Callable[[Body], Any]


@dataclass(slots=True)
class Reply:
    """A status, what becomes JSON, and further headers; None is an empty body."""

    status: int
    payload: Any = None
    headers: dict[str, str] = field(default_factory=dict)


class Refusal(Exception):  # noqa: N818 - no error of this program: a server's answer
    """A request that the engine answers with an error of its own shape."""

    def __init__(self, status: int, message: str, kind: str | None = None, **more: Any) -> None:
        super().__init__(message)
        self.status, self.message, self.kind, self.more = status, message, kind, more


class Engine:
    """One engine's interface over one tiny model.

    Attributes:
        name: as in the settings' `server`.
        serves: what it can serve.
        work: paths that compute, on which faults act; the others are probes.
        guarded: beginnings of the paths that ask for the key.
        max_batch: inputs a request may have, if the engine has such a limit.
        too_many: the status for more.
        indexed: whether its items say which input they answer.
        non_finite: how it writes a NaN: as null, or not at all, which is a status 500.
    """

    name: ClassVar[str]
    serves: ClassVar[frozenset[Kind]] = frozenset({"embedder", "reranker"})
    work: ClassVar[frozenset[str]]
    guarded: ClassVar[tuple[str, ...]] = ("/",)
    max_batch: ClassVar[int | None] = None
    too_many: ClassVar[int] = 400
    indexed: ClassVar[bool] = True
    non_finite: ClassVar[str] = "null"

    def __init__(self, setup: Setup) -> None:
        if setup.serves not in self.serves:
            raise ValueError(f"{self.name} serves no {setup.serves}")
        self.setup = setup
        self.computing = Computing(setup)
        self._free = (
            None if setup.max_concurrent is None else BoundedSemaphore(setup.max_concurrent)
        )

    @property
    def model(self) -> str:
        """The name under which the model is served."""
        if self.setup.name is not None:
            return self.setup.name
        return str(EMBEDDER if self.setup.serves == "embedder" else RERANKER)

    def routes(self) -> Mapping[str, Handler]:
        """Return what answers "METHOD /path"."""
        raise NotImplementedError

    def error(self, status: int, message: str, kind: str | None = None, **more: Any) -> Any:
        """Return the payload of an error."""
        raise NotImplementedError

    def unauthorized(self) -> Reply:
        """Return the answer to a request without the key."""
        return Reply(401, self.error(401, "Unauthorized", "authentication_error"))

    def overloaded(self) -> Reply:
        """Return the answer to one request too many."""
        return Reply(429, self.error(429, "Model is overloaded", "rate_limit_error"))

    def answer(self, method: str, path: str, body: Body, headers: Mapping[str, str]) -> Reply:
        """Return the answer to a request, as the engine would give it."""
        key = self.setup.api_key
        if key is not None and path.startswith(self.guarded):
            given = headers.get("authorization", "")
            if given != f"Bearer {key}":
                return self.unauthorized()
        handler = self.routes().get(f"{method} {path}")
        if handler is None:
            return Reply(404, self.error(404, "Not Found", "Not Found"))
        limited = path in self.work and self._free is not None
        if limited and not self._free.acquire(blocking=False):  # type: ignore[union-attr]
            return self.overloaded()
        try:
            return self._handled(handler, body)
        finally:
            if limited:
                self._free.release()  # type: ignore[union-attr]

    def _handled(self, handler: Handler, body: Body) -> Reply:
        try:
            found = handler(body)
        except Refusal as refusal:
            payload = self.error(refusal.status, refusal.message, refusal.kind, **refusal.more)
            return Reply(refusal.status, payload)
        except TooLong as long:
            return self.too_long(long)
        if isinstance(found, Reply):
            return found
        if self.non_finite == "500" and not _finite(found):
            return Reply(500, self.error(500, "Out of range float values are not JSON compliant"))
        return Reply(200, _nulled(found))

    def too_long(self, long: TooLong) -> Reply:
        """Return the answer to a text with too many tokens."""
        return Reply(400, self.error(400, str(long), "BadRequestError"))

    def check_batch(self, inputs: Sequence[Any]) -> None:
        """Refuse more inputs than a request may have."""
        limit = self.max_batch if self.setup.max_batch is None else self.setup.max_batch
        if limit is not None and len(inputs) > limit:
            raise Refusal(
                self.too_many,
                f"batch size {len(inputs)} > maximum allowed batch size {limit}",
                "Validation",
            )

    def check_model(self, body: Body) -> None:
        """Refuse another name than the one under which the model is served."""
        if body.get("model", self.model) != self.model:
            raise Refusal(404, f"The model `{body['model']}` does not exist.", "NotFoundError")

    def need(self, kind: Kind, message: str, status: int = 404) -> None:
        """Refuse what the model that is served cannot do."""
        if self.setup.serves != kind:
            raise Refusal(status, message, "NotFoundError")


class OpenAIEngine(Engine):
    """An engine that has OpenAI's embeddings beside its own interface."""

    guarded = ("/v1/",)
    owner: ClassVar[str] = "server"

    def error(self, status: int, message: str, kind: str | None = None, **more: Any) -> Any:
        """Return OpenAI's shape."""
        return {"error": {"message": message, "type": kind, "param": None, "code": status, **more}}

    def models(self, _: Body) -> Any:
        """Answer ``GET /v1/models``."""
        known = {"id": self.model, "object": "model", "created": 1, "owned_by": self.owner}
        return {"object": "list", "data": [{**known, **self.model_facts()}]}

    def model_facts(self) -> Body:
        """Return what an engine adds to its model's entry."""
        return {}

    def embeddings(self, body: Body) -> Any:
        """Answer ``POST /v1/embeddings``."""
        self.check_model(body)
        inputs = as_list(body.get("input"))
        self.check_batch(inputs)
        return self.embedded(inputs, self.embed(inputs, body), body)

    def embed(self, inputs: list[Text], body: Body) -> NDArray[np.float64]:
        """Return the vectors of a request."""
        return self.computing.vectors(inputs, dimensions=body.get("dimensions"))

    def embedded(self, inputs: list[Text], vectors: NDArray[np.float64], body: Body) -> Any:
        """Return OpenAI's answer with these vectors."""
        written = [
            encoded(row) if body.get("encoding_format") == "base64" else numbers(row)
            for row in vectors
        ]
        tokens = sum(len(self.computing.ids(each)) for each in inputs)
        return {
            "object": "list",
            "model": self.model,
            "data": [
                {"object": "embedding", "index": place, "embedding": row}
                for place, row in enumerate(written)
            ],
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        }


def as_list(given: Any) -> list[Text]:
    """Return the inputs of a request: a text, texts, ids, or lists of ids."""
    if isinstance(given, str) or (given and isinstance(given, list) and isinstance(given[0], int)):
        return [given]
    if not isinstance(given, list) or not given:
        raise Refusal(400, "input must be a non-empty string or list", "BadRequestError")
    return given


def texts_only(given: Any, status: int = 422) -> list[str]:
    """Return the inputs where an engine takes text alone."""
    inputs = [given] if isinstance(given, str) else given
    if not isinstance(inputs, list) or any(not isinstance(each, str) for each in inputs):
        raise Refusal(status, "Input should be a valid string", "Validation")
    return inputs


def numbers(row: NDArray[np.float64]) -> list[float]:
    """Return a vector as an engine writes it: float32, in the fewest digits."""
    return [float(str(value)) for value in row.astype(np.float32)]


def encoded(row: NDArray[np.float64]) -> str:
    """Return a vector as base64 of float32."""
    return base64.b64encode(row.astype("<f4").tobytes()).decode("ascii")


def by_score(scores: NDArray[np.float64]) -> list[tuple[int, float]]:
    """Return places and scores, best first."""
    return sorted(enumerate(map(float, scores)), key=lambda each: -each[1])


def _finite(value: Any) -> bool:
    if isinstance(value, float):
        return bool(np.isfinite(value))
    if isinstance(value, dict):
        return all(map(_finite, value.values()))
    return all(map(_finite, value)) if isinstance(value, list) else True


def _nulled(value: Any) -> Any:
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    if isinstance(value, dict):
        return {name: _nulled(each) for name, each in value.items()}
    return [_nulled(each) for each in value] if isinstance(value, list) else value
