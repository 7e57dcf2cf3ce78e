"""How another client than this library asks each engine: with plain text, on its usual paths."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from qwen_retrieval.servers.engine import Request

Body = dict[str, Any]
Dimensions = Literal["cuts", "ignores", "cuts only"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """An engine's requests for text.

    Attributes:
        version: where the engine tells its version, and under which name.
        embed: for texts and a width, or None without one.
        dimensions: what the engine does with a width: cuts and scales to unit length again, ignores
            it, or cuts only, whatever options it is started with.
        rerank: for a query, documents and an instruction, or None without one.
        takes_instruction: whether a custom instruction can reach the model so.
        tokenize: for a text; the answer holds the ids as the model gets them.
    """

    version: tuple[str, str] | None = None
    embed: Callable[[str, Sequence[str], int | None], Request] | None = None
    dimensions: Dimensions = "cuts"
    rerank: Callable[[str, str, Sequence[str], str | None], Request] | None = None
    takes_instruction: bool = True
    tokenize: Callable[[str], Request] | None = None


def _openai(path: str) -> Callable[[str, Sequence[str], int | None], Request]:
    def embed(model: str, texts: Sequence[str], dimensions: int | None) -> Request:
        body: Body = {"model": model, "input": list(texts)}
        return Request(path, body if dimensions is None else {**body, "dimensions": dimensions})

    return embed


def _tei(model: str, texts: Sequence[str], dimensions: int | None) -> Request:  # noqa: ARG001
    body: Body = {"inputs": list(texts)}
    return Request("/embed", body if dimensions is None else {**body, "dimensions": dimensions})


def _ollama(model: str, texts: Sequence[str], dimensions: int | None) -> Request:
    body: Body = {"model": model, "input": list(texts), "truncate": False}
    return Request("/api/embed", body if dimensions is None else {**body, "dimensions": dimensions})


def _jina(
    path: str, instruction_name: str | None
) -> Callable[[str, str, Sequence[str], str | None], Request]:
    def rerank(
        model: str, query: str, documents: Sequence[str], instruction: str | None
    ) -> Request:
        body: Body = {"model": model, "query": query, "documents": list(documents)}
        if instruction is not None and instruction_name is not None:
            body[instruction_name] = instruction
        return Request(path, body)

    return rerank


DIALECTS: Mapping[str, Dialect] = {
    "vllm": Dialect(
        version=("/version", "version"),
        embed=_openai("/v1/embeddings"),
        rerank=_jina("/rerank", "instruction"),
        tokenize=lambda text: Request("/tokenize", {"prompt": text}),
    ),
    "sglang": Dialect(
        version=("/get_server_info", "version"),
        embed=_openai("/v1/embeddings"),
        rerank=_jina("/v1/rerank", "instruct"),
    ),
    "tei": Dialect(
        version=("/info", "version"),
        embed=_tei,
        tokenize=lambda text: Request("/tokenize", {"inputs": [text]}),
    ),
    "llama_cpp": Dialect(
        version=("/props", "build_info"),
        embed=_openai("/v1/embeddings"),
        dimensions="ignores",
        rerank=_jina("/v1/rerank", None),
        takes_instruction=False,
        tokenize=lambda text: Request("/tokenize", {"content": text, "add_special": True}),
    ),
    "infinity": Dialect(
        embed=_openai("/embeddings"), dimensions="cuts only", rerank=_jina("/rerank", None)
    ),
    "ollama": Dialect(
        version=("/api/version", "version"),
        embed=_ollama,
    ),
    "openai": Dialect(embed=_openai("/embeddings")),
    "jina": Dialect(rerank=_jina("/rerank", None), takes_instruction=False),
    "dashscope": Dialect(),  # each question costs money: only what this library itself would ask
}
"""By the settings' `server`; paths follow the address as the client's own do."""


def read_ids(answer: object) -> list[int]:
    """Return the token ids in an engine's answer to `tokenize`."""
    found: Any = answer
    if isinstance(found, dict):
        found = found["tokens"]
    if found and isinstance(found[0], list):
        found = found[0]
    return [int(each["id"] if isinstance(each, dict) else each) for each in found]
