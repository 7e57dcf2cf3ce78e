"""Token ids are those of the official code, with the released tokenizers and real texts."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from plain_forward import PREFIX, SUFFIX, format_instruction, get_detailed_instruct, process_inputs
from transformers import AutoTokenizer

from qwen_retrieval import prompts
from qwen_retrieval.tokens import plain_encoder, token_id

COLLECTIONS = {
    "English": ("xquad-en", "belebele-eng_Latn", "scifact"),
    "German": ("xquad-de", "belebele-deu_Latn"),
    "Spanish": ("xquad-es",),
    "Hindi": ("xquad-hi",),
    "Chinese": ("xquad-zh", "dureader2-demo-zh"),
    "code": ("humaneval-code",),
}
AT_LEAST = {
    "English": 1200, "German": 1200, "Spanish": 1000, "Hindi": 1000, "Chinese": 1200, "code": 800,
}  # fmt: skip
MOST = 1500
TASK = "Given a web search query, retrieve relevant passages that answer the query"


def _texts(material: Path, language: str) -> Iterator[str]:
    for collection in COLLECTIONS[language]:
        for name in ("corpus.jsonl", "queries.jsonl"):
            with (material / "data" / collection / name).open(encoding="utf-8") as lines:
                for line in lines:
                    yield json.loads(line)["text"]
    if language == "code":
        pairs = material / "data" / "pairs" / "python-stdlib-docstring-code.jsonl.gz"
        with gzip.open(pairs, "rt", encoding="utf-8") as lines:
            for line in lines:
                yield json.loads(line)["positive"]


@pytest.fixture(scope="module")
def texts(material: Path) -> dict[str, list[str]]:
    """Distinct texts by language, short ones and long ones alternating with their collections."""
    found = {}
    for language in COLLECTIONS:
        every = list(dict.fromkeys(_texts(material, language)))
        step = max(1, len(every) // MOST)
        found[language] = every[::step][:MOST]
    return found


@pytest.fixture(scope="module")
def embedding(material: Path) -> Any:
    """The released embedding tokenizer."""
    return AutoTokenizer.from_pretrained(str(material / "qwen3" / "tokenizer" / "embedding"))


@pytest.fixture(scope="module")
def reranker(material: Path) -> Any:
    """The released reranking tokenizer."""
    return AutoTokenizer.from_pretrained(str(material / "qwen3" / "tokenizer" / "reranker"))


@pytest.fixture(scope="module")
def plain_embedding(embedding: Any) -> Any:
    """The library's encoder for texts to embed."""
    return plain_encoder(embedding.backend_tokenizer)


@pytest.fixture(scope="module")
def plain_reranker(reranker: Any) -> Any:
    """The library's encoder for texts to rerank."""
    return plain_encoder(reranker.backend_tokenizer)


def test_there_are_at_least_5000_texts(texts: dict[str, list[str]]) -> None:
    """Enough of each language, and of the whole."""
    counts = {language: len(found) for language, found in texts.items()}
    assert all(counts[language] >= least for language, least in AT_LEAST.items()), counts
    assert sum(counts.values()) >= 5_000, counts
    assert not any(
        control in text for t in texts.values() for text in t for control in ("<|im_", "<think>")
    ), "texts with control tokens differ on purpose"


@pytest.mark.parametrize("language", COLLECTIONS)
@pytest.mark.parametrize("max_length", [8192, 64, 33])
def test_embedding_ids(
    texts: dict[str, list[str]],
    embedding: Any,
    plain_embedding: Any,
    language: str,
    max_length: int,
) -> None:
    """`tokenizer(text, truncation=True)` for documents and queries, also where it cuts."""
    documents = texts[language]
    finished = [*documents, *(get_detailed_instruct(TASK, text) for text in documents)]
    ours = [*documents, *(prompts.query_text(text, TASK) for text in documents)]
    official = embedding(finished, truncation=True, max_length=max_length)["input_ids"]
    end = token_id(embedding.backend_tokenizer, prompts.EMBEDDER_EOS, "test")
    assert end == 151643
    found = prompts.embedder_ids(ours, plain_embedding, end, max_length)
    assert found.ids == official
    full = embedding(finished)["input_ids"]
    assert found.cut == [n for n, ids in enumerate(full) if len(ids) > max_length]


@pytest.mark.parametrize("language", COLLECTIONS)
@pytest.mark.parametrize("max_length", [8192, 256])
def test_reranking_ids(
    texts: dict[str, list[str]],
    reranker: Any,
    plain_reranker: Any,
    language: str,
    max_length: int,
) -> None:
    """The card's `process_inputs`, also where it cuts, for short queries and every document."""
    documents = texts[language]
    queries = [text for text in documents if len(text) < 60][:7] or ["how?"]
    pairs = [(queries[n % len(queries)], document) for n, document in enumerate(documents)]
    for task in (None, "Find code that does what is asked"):
        official = process_inputs(
            reranker, [format_instruction(task, q, d) for q, d in pairs], max_length
        )
        prefix = reranker.encode(prompts.RERANKER_PREFIX, add_special_tokens=False)
        suffix = reranker.encode(prompts.RERANKER_SUFFIX, add_special_tokens=False)
        found = prompts.reranker_ids(pairs, task, plain_reranker, prefix, suffix, max_length)
        assert found.ids == official


def test_the_templates_are_the_cards(reranker: Any, plain_reranker: Any) -> None:
    """Byte for byte, and in one piece the same ids as in parts."""
    assert prompts.RERANKER_PREFIX == PREFIX
    assert prompts.RERANKER_SUFFIX == SUFFIX
    whole = PREFIX + format_instruction(None, "a query", "a document.") + SUFFIX
    found = prompts.reranker_ids(
        [("a query", "a document.")],
        None,
        plain_reranker,
        reranker.encode(PREFIX, add_special_tokens=False),
        reranker.encode(SUFFIX, add_special_tokens=False),
        8192,
    )
    assert found.ids == [reranker.encode(whole, add_special_tokens=False)]
    assert (reranker.convert_tokens_to_ids("yes"), reranker.convert_tokens_to_ids("no")) == (
        9693,
        2152,
    )
