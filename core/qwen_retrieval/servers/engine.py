"""What an engine's module says: which requests to send, and what its interface can keep.

Nothing here does any input or output, so an engine is a table of small functions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from qwen_retrieval.contract import Pair
    from qwen_retrieval.settings import Server


@dataclass(frozen=True, slots=True)
class Request:
    """A request: its path below the server's address, and the JSON to post; None gets."""

    path: str
    body: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Served:
    """A model that a server says it has.

    Attributes:
        model: its name there.
        context: tokens a sequence may have; None where the server does not say.
        batch: sequences a request may have; None where the server does not say.
    """

    model: str
    context: int | None = None
    batch: int | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """What is the same for all requests of a call.

    Attributes:
        model: its name on the server.
        instruction: the task, where the server and not the client puts it before the text.
        is_query: whether the texts are queries.
        dimensions: the width asked for, where only the server can cut.
        logits: whether yes − no is wanted rather than P("yes").
        answers: ids of "yes" and "no".
    """

    model: str
    instruction: str | None = None
    is_query: bool = False
    dimensions: int | None = None
    logits: bool = False
    answers: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Engine:
    """What embedding and reranking engines have in common.

    Attributes:
        server: its name in the settings.
        title: its name in messages.
        takes_ids: token ids are sent, so that no text is tokenised there; else text is, and control
            tokens in it are refused.
        listing: path of what the server says of itself; None where it says nothing of use.
        read_listing: the models in it.
        version: what becomes of a ``/v1`` at the end of `base_url`: "strip" where paths bring their
            own, "keep" as it is given, "add" where there is no path at all.
        default_url: used without `base_url`.
        default_model: the served model where neither the settings nor the server name one.
        batch: sequences a request may have, where the engine has a fixed limit.
        context: tokens a sequence may have, where the engine has a fixed limit.
        key_variable: environment variable of the key, looked at after the library's own.
    """

    server: Server
    title: str
    takes_ids: bool
    listing: Request | None = None
    read_listing: Callable[[Any], list[Served]] = lambda answer: []  # noqa: ARG005
    version: Literal["strip", "keep", "add"] = "strip"
    default_url: str | None = None
    default_model: str | None = None
    batch: int | None = None
    context: int | None = None
    key_variable: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingEngine(_Engine):
    """How texts are embedded there.

    Attributes:
        request: for a batch of token ids or of texts.
        own_instruction: the server puts the instruction before queries, by a field of the request.
        own_model: the server's model is not the checkpoint `model`, so its width is not known and
            only the server can cut its vectors.
        strips: the server removes white space at both ends, so such text is refused.
        refuses_empty: the server refuses an empty text.
    """

    request: Callable[[Sequence[Any], Call], Request]
    own_instruction: bool = False
    own_model: bool = False
    strips: bool = False
    refuses_empty: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RerankEngine(_Engine):
    """How pairs are scored there.

    Attributes:
        request: for a batch of whole prompts as token ids, or of pairs with one query.
        takes_instruction: any instruction reaches the model; else only the default one, which the
            server's own template holds, and others are refused.
        gives_logits: yes − no can be had; else only P("yes") can.
        read: the scores in an answer, as numbers or rows of numbers.
        score: a number from each.
        forbidden: text that the server's template would take for a place of its own.
    """

    request: Callable[[Sequence[Any], Call], Request]
    takes_instruction: bool
    gives_logits: bool
    score: Callable[[Any, Call], float] = lambda value, call: float(value)  # noqa: ARG005
    forbidden: tuple[str, ...] = ()


def documents_request(path: str, pairs: Sequence[Pair], call: Call) -> Request:
    """Return a reranking request in Jina's shape, which most engines share."""
    return Request(
        path,
        {
            "model": call.model,
            "query": pairs[0][0],
            "documents": [document for _, document in pairs],
            "top_n": len(pairs),
            "return_documents": False,
        },
    )


def embeddings_request(path: str, items: Sequence[Any], call: Call) -> Request:
    """Return an embedding request in OpenAI's shape; base64 is a tenth of the work to read."""
    return Request(path, {"model": call.model, "input": list(items), "encoding_format": "base64"})


def openai_listing(answer: Any) -> list[Served]:  # noqa: ANN401 - JSON
    """Return the models of ``/v1/models``; vLLM and SGLang add how long a sequence may be."""
    return [Served(str(each["id"]), context=each.get("max_model_len")) for each in answer["data"]]
