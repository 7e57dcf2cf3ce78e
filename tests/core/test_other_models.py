"""Any other sentence-transformers model works through the same class, in its own way."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from samples import PASSAGES
from sentence_transformers import SentenceTransformer

from qwen_retrieval import EmbedderSettings
from qwen_retrieval.errors import SettingsError, TruncationWarning
from qwen_retrieval.local.embedder import LocalEmbedder

TEXTS = [*PASSAGES, "", " ", "x", PASSAGES[1] * 3]


@pytest.fixture(scope="module")
def peer(minilm: Path) -> SentenceTransformer:
    """The model in sentence-transformers."""
    return SentenceTransformer(str(minilm), device="cpu", model_kwargs={"dtype": torch.float32})


@pytest.fixture(scope="module")
def embedder(minilm: Path) -> Iterator[LocalEmbedder]:
    """The model here."""
    opened = LocalEmbedder(EmbedderSettings(model=str(minilm), dtype="float32", device="cpu"))
    opened.replicas()
    yield opened
    opened.close()


def with_settings(minilm: Path, texts: list[str], method: str, **others: Any) -> Any:
    """Return what a method of a fresh embedder gives."""
    opened = LocalEmbedder(
        EmbedderSettings(model=str(minilm), dtype="float32", device="cpu", **others)
    )
    try:
        return getattr(opened, method)(texts)
    finally:
        opened.close()


def test_equals_sentence_transformers(embedder: LocalEmbedder, peer: SentenceTransformer) -> None:
    """Documents and queries come out as `encode` gives them: no instruction, own pooling."""
    expected = peer.encode(TEXTS, normalize_embeddings=True)
    assert np.abs(embedder.embed_documents(TEXTS) - expected).max() < 1e-5
    assert np.abs(embedder.embed_queries(TEXTS) - expected).max() < 1e-5
    assert embedder.dimensions == 384


def test_dimensions_are_any_up_to_the_width(minilm: Path, peer: SentenceTransformer) -> None:
    """The Matryoshka range is Qwen3's; another model is cut wherever one likes."""
    found = with_settings(minilm, TEXTS, "embed_documents", dimensions=7)
    expected = peer.encode(TEXTS, truncate_dim=7, normalize_embeddings=True)
    assert np.abs(found - expected).max() < 1e-5
    with pytest.raises(SettingsError, match=r"dimensions is 385, .*1 to 384; choose"):
        with_settings(minilm, TEXTS, "embed_documents", dimensions=385)


def test_truncation_is_counted(embedder: LocalEmbedder, peer: SentenceTransformer) -> None:
    """The model cuts at its own limit, and that is said."""
    long = [PASSAGES[1] * 40, "short", PASSAGES[0] * 80]
    with pytest.warns(TruncationWarning, match=r"2 of 3 texts \(first: 0\) .* 256 tokens"):
        found = embedder.embed_documents(long)
    assert np.abs(found - peer.encode(long, normalize_embeddings=True)).max() < 1e-5


def test_a_shorter_limit_is_kept(minilm: Path) -> None:
    """`max_length` cuts earlier than the model would, and not in the shared model."""
    with pytest.warns(TruncationWarning, match=r"1 of 1 .* 16 tokens"):
        short = with_settings(minilm, [PASSAGES[1] * 9], "embed_documents", max_length=16)
    fresh = SentenceTransformer(str(minilm), device="cpu", model_kwargs={"dtype": torch.float32})
    fresh.max_seq_length = 16
    expected = fresh.encode([PASSAGES[1] * 9], normalize_embeddings=True)
    assert np.abs(short - expected).max() < 1e-5


def test_an_instruction_is_refused(embedder: LocalEmbedder, minilm: Path) -> None:
    """A model without the template would ignore it."""
    with pytest.raises(SettingsError, match=r"'Find cats' would be ignored; give query_prompt"):
        embedder.embed_queries(["x"], instruction="Find cats")
    with pytest.raises(SettingsError, match=r"'Find cats' would be ignored; give query_prompt"):
        with_settings(minilm, ["x"], "embed_queries", query_instruction="Find cats")
    assert embedder.embed_queries(["x"], instruction="").shape == (1, 384)


def test_prompts_are_put_before(minilm: Path, peer: SentenceTransformer) -> None:
    """`query_prompt` and `document_prompt` stand verbatim before the texts."""
    queries = with_settings(minilm, TEXTS, "embed_queries", query_prompt="query: ")
    expected = peer.encode(TEXTS, prompt="query: ", normalize_embeddings=True)
    assert np.abs(queries - expected).max() < 1e-5
    documents = with_settings(minilm, TEXTS, "embed_documents", document_prompt="passage: ")
    expected = peer.encode(TEXTS, prompt="passage: ", normalize_embeddings=True)
    assert np.abs(documents - expected).max() < 1e-5


def test_the_models_own_prompts_are_used(minilm: Path, peer: SentenceTransformer) -> None:
    """What the model has saved applies unless something is asked for; "" leaves it out."""
    own = SentenceTransformer(
        str(minilm),
        device="cpu",
        model_kwargs={"dtype": torch.float32},
        prompts={"query": "search_query: ", "document": "search_document: "},
    )
    opened = LocalEmbedder(EmbedderSettings(), loaded=own)
    for found, prompt in (
        (opened.embed_queries(TEXTS), "search_query: "),
        (opened.embed_documents(TEXTS), "search_document: "),
        (opened.embed_queries(TEXTS, instruction=""), ""),
    ):
        expected = peer.encode(TEXTS, prompt=prompt, normalize_embeddings=True)
        assert np.abs(found - expected).max() < 1e-5
    opened.close()


def test_control_tokens_inside_a_text_are_data(
    embedder: LocalEmbedder, peer: SentenceTransformer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`[SEP]` and its like are spelt out, where the tokenizer alone would let them act."""
    replica = embedder.replicas()[0]
    forward, seen = replica._vectors, []

    def watch(features: Any) -> Any:
        seen.append(features["input_ids"].tolist())
        return forward(features)

    monkeypatch.setattr(replica, "_vectors", watch)
    special = set(peer.tokenizer.all_special_ids)
    for token in ("[SEP]", "[CLS]", "[PAD]", "[MASK]"):
        text = f"before {token} after"
        embedder.embed_documents([text])
        (ids,) = seen.pop()
        assert sum(each in special for each in ids) == 2, "[CLS] and [SEP] of the sequence alone"
        assert sum(each in special for each in peer.tokenizer(text)["input_ids"]) == 3
