"""What mteb calls of an embedder and a reranker, called as mteb does, without mteb.

That `mteb.evaluate` takes them is shown in tests/with_mteb (``python -m nox -s mteb``).
"""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from qwen_retrieval import EmbedderSettings, RerankerSettings, open_embedder, open_reranker
from qwen_retrieval.errors import SettingsError
from qwen_retrieval.instructions import PRESETS

TINY = Path(__file__).parents[1] / "tiny"
QUERIES = [{"text": ["which fruit is red?", "what is blue"]}, {"text": ["sweet things"]}]
DOCUMENTS = [{"text": ["apples are red", "the sky is blue"]}, {"text": ["figs are sweet"]}]
TEXTS = [text for batch in QUERIES for text in batch["text"]]
CALL = {"hf_split": "test", "hf_subset": "default", "batch_size": 2, "show_progress_bar": False}


class PromptType(Enum):
    """As mteb's own."""

    query = "query"
    document = "document"


def task(name: str = "Fruit", prompt: Any = None) -> SimpleNamespace:
    """What the protocols read of a task."""
    return SimpleNamespace(name=name, prompt=prompt)


SETTINGS = EmbedderSettings(model=str(TINY / "embedder"), device="cpu", dtype="float32")


@pytest.mark.parametrize(
    ("metadata", "own", "expected"),
    [
        (task("SciFact"), None, PRESETS["SciFact"].query),
        (task("SciFact"), "find red fruit", "find red fruit"),
        (task("Fruit", {"query": "name the fruit"}), None, "name the fruit"),
        (task("Fruit", "name the fruit"), None, "name the fruit"),
        (task("Fruit"), None, None),
    ],
    ids=["preset", "settings win", "mteb's, by kind", "mteb's", "default"],
)
def test_queries_carry_the_instruction_of_the_task(
    metadata: SimpleNamespace, own: str | None, expected: str | None
) -> None:
    """A preset by the task's name, else mteb's own, else the default; the settings' before all."""
    from dataclasses import replace

    embedder = open_embedder(replace(SETTINGS, query_instruction=own))
    found = embedder.encode(QUERIES, task_metadata=metadata, prompt_type=PromptType.query, **CALL)
    assert np.array_equal(found, embedder.embed_queries(TEXTS, instruction=expected))
    # Tasks without documents name no kind of prompt.
    assert np.array_equal(embedder.encode(QUERIES, task_metadata=metadata, **CALL), found)
    embedder.close()


def test_documents_carry_none() -> None:
    """A document is embedded as it is, whatever the task."""
    embedder = open_embedder(SETTINGS)
    found = embedder.encode(
        QUERIES, task_metadata=task("SciFact"), prompt_type=PromptType.document, **CALL
    )
    assert np.array_equal(found, embedder.embed_documents(TEXTS))
    embedder.close()


def test_model_without_template_is_asked_in_its_own_way(minilm: Path) -> None:
    """A preset is for models that know instructions; others are not refused for it."""
    embedder = open_embedder(EmbedderSettings(model=str(minilm), device="cpu"))
    found = embedder.encode(
        QUERIES, task_metadata=task("SciFact"), prompt_type=PromptType.query, **CALL
    )
    assert np.array_equal(found, embedder.embed_queries(TEXTS))
    assert not embedder.takes_instructions()
    embedder.close()


def test_similarity_is_the_dot_product() -> None:
    """Of each with each, and of each with its counterpart."""
    embedder = open_embedder(SETTINGS)
    first, second = np.eye(3, dtype=np.float32), np.arange(9, dtype=np.float32).reshape(3, 3)
    assert np.array_equal(embedder.similarity(first, second), second.T)
    assert np.array_equal(embedder.similarity(first[0], second[1]), [[3.0]])
    assert embedder.similarity_pairwise(first, second).tolist() == [0.0, 4.0, 8.0]
    embedder.close()


def test_other_precisions_are_refused() -> None:
    """Or mteb would take int8 vectors for granted where float32 come back."""
    embedder = open_embedder(SETTINGS)
    with pytest.raises(SettingsError, match="precision is 'int8', but embedders return float32"):
        embedder.encode(QUERIES, task_metadata=task(), precision="int8", **CALL)
    embedder.close()


def test_reranker_scores_pairs_in_order() -> None:
    """Each query with its document, under the task's instruction."""
    reranker = open_reranker(RerankerSettings(model=str(TINY / "reranker"), device="cpu"))
    found = reranker.predict(QUERIES, DOCUMENTS, task_metadata=task("SciFact"), **CALL)
    texts = [text for batch in DOCUMENTS for text in batch["text"]]
    pairs = list(zip(TEXTS, texts, strict=True))
    expected = reranker.score(pairs, instruction=PRESETS["SciFact"].query)
    assert np.array_equal(found, expected)
    assert not np.array_equal(found, reranker.score(pairs))
    reranker.close()


def test_tokens_are_those_that_the_model_reads() -> None:
    """Prompt and EOS count; what is too long counts as it is cut."""
    embedder = open_embedder(EmbedderSettings(model=SETTINGS.model, device="cpu", max_length=64))
    plain = embedder.count_tokens(["red apples", "red " * 500], "document")
    asked = embedder.count_tokens(["red apples"], "query", instruction="find fruit")
    bare = embedder.count_tokens(["red apples"], "query", instruction="")
    assert plain[1] == 64
    assert plain[0] == bare[0] < asked[0]
    embedder.close()
    reranker = open_reranker(RerankerSettings(model=str(TINY / "reranker"), device="cpu"))
    short, longer = reranker.count_tokens([("q", "d"), ("q", "d and more of it")])
    assert 20 < short < longer
    reranker.close()
