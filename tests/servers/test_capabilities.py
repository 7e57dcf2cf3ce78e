"""The table of what each engine keeps is the one in the documentation, and of all engines."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

from qwen_retrieval import EmbedderSettings, RerankerSettings, open_embedder, open_reranker
from qwen_retrieval.servers.capabilities import (
    embedding_capabilities,
    rerank_capabilities,
    table,
)
from qwen_retrieval.servers.engines import EMBEDDING, RERANK
from qwen_retrieval.settings import Server
from qwen_retrieval.testing import doubles

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "servers.md"


def test_the_documentation_holds_the_table() -> None:
    """Printed by ``python -m qwen_retrieval.servers.capabilities``."""
    assert table() in PAGE.read_text(encoding="utf-8")


def test_every_server_of_the_settings_is_an_engine() -> None:
    """For embedding, reranking or both."""
    assert EMBEDDING.keys() | RERANK.keys() == set(get_args(Server))
    assert all(name == engine.server for name, engine in {**EMBEDDING, **RERANK}.items())


def test_the_table_follows_from_what_an_engine_takes() -> None:
    """Ids make control tokens harmless; text does not."""
    for engine in EMBEDDING.values():
        found = embedding_capabilities(engine)["control tokens are data"]
        assert found.holds == ("kept" if engine.takes_ids else "refused")
    for reranks in RERANK.values():
        logit = rerank_capabilities(reranks)['score_type="logit"']
        assert logit.holds == ("kept" if reranks.gives_logits else "refused")


def test_doubles_stand_for_servers_too() -> None:
    """A user's tests need no server."""
    at = {"server": "vllm", "base_url": "http://127.0.0.1:9"}
    with doubles():
        vectors = open_embedder(EmbedderSettings(**at)).embed_documents(["a"])
        ranked = open_reranker(RerankerSettings(**at)).rerank("a", ["b", "a"])
    assert vectors.shape == (1, 256)
    assert ranked[0].index == 1
