"""Every serving engine in the contract's words: the core over a fault server in its shapes.

What an engine refuses is read from its own description, the one that the capability table in the
documentation is made of.
"""

from __future__ import annotations

from functools import cache
from typing import Any, ClassVar

from qwen_retrieval.servers.engine import EmbeddingEngine, RerankEngine
from qwen_retrieval.servers.engines import EMBEDDING, RERANK
from servers.fault_server import FaultServer
from servers.networks import embedder
from servers.setup import Kind

from .faces import CoreEmbedder, CoreReranker, Subject

BOTH_WAYS = {"vllm", "jina"}
"""One that takes token ids and one that takes text: the coroutines are the same for all engines."""

RUNNING: list[FaultServer] = []


@cache
def server(engine: str, serves: Kind) -> FaultServer:
    """Return the engine's running server; the conftest stops them all."""
    RUNNING.append(FaultServer(engine, serves=serves).start())
    return RUNNING[-1]


@cache
def control_tokens() -> tuple[str, ...]:
    """Return the strings that a server's tokenizer obeys."""
    decoder = embedder().tokenizer.get_added_tokens_decoder()
    return tuple(each.content for each in decoder.values())


class _OverServer(Subject):
    local = False
    serves: ClassVar[Kind]
    engine: ClassVar[Any]

    @classmethod
    def running(cls) -> FaultServer:
        """Return the server that this subject's faces ask."""
        return server(cls.engine.server, cls.serves)

    @classmethod
    def common(cls, folder: str) -> dict[str, Any]:
        running = cls.running()
        running.heal()
        return {
            "model": folder,
            "server": cls.engine.server,
            "base_url": running.url,
            "served_model": running.engine.model,
        }

    @classmethod
    def refusal(cls, text: str) -> str | None:
        if not cls.engine.takes_ids and any(token in text for token in control_tokens()):
            return "holds the control token"
        return None


class _Embedder(_OverServer, CoreEmbedder):
    serves = "embedder"
    engine: ClassVar[EmbeddingEngine]

    @classmethod
    def refusal(cls, text: str) -> str | None:
        if cls.engine.strips and text != text.strip():
            return "white space"
        if cls.engine.refuses_empty and not text:
            return "empty"
        return super().refusal(text)


class _Reranker(_OverServer, CoreReranker):
    serves = "reranker"
    engine: ClassVar[RerankEngine]

    @classmethod
    def refusal(cls, text: str) -> str | None:
        if any(each in text for each in cls.engine.forbidden):
            return "would replace"
        return super().refusal(text)


EMBEDDERS = [
    type(
        f"Over_{name}",
        (_Embedder,),
        {
            "__doc__": f"An embedder over {engine.title}.",
            "name": name,
            "engine": engine,
            "ways": (False, True) if name in BOTH_WAYS else (False,),
            "takes_prompt": not engine.own_instruction,
            "own_model": engine.own_model,
        },
    )
    for name, engine in EMBEDDING.items()
]
RERANKERS = [
    type(
        f"Over_{name}",
        (_Reranker,),
        {
            "__doc__": f"A reranker over {engine.title}.",
            "name": name,
            "engine": engine,
            "ways": (False, True) if name in BOTH_WAYS else (False,),
            "gives_logits": engine.gives_logits,
            "takes_instruction": engine.takes_instruction,
        },
    )
    for name, engine in RERANK.items()
]
