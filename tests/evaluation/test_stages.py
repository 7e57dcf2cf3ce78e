"""What the stages say while they compute."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from qwen_retrieval import EmbedderSettings, RerankerSettings
from qwen_retrieval.errors import MemoryWarning, TooLongError, TruncationWarning
from qwen_retrieval.evaluation import Collection
from qwen_retrieval.evaluation.stages import BATCH, Stages
from qwen_retrieval.evaluation.store import Store

TINY = Path(__file__).parents[1] / "tiny"
LONG = {3, BATCH - 1, BATCH, BATCH + 20}


def test_cut_texts_are_counted_once_for_all_blocks(tmp_path: Path) -> None:
    """One warning a stage, not one a block, and it counts every text that was cut."""
    texts = {
        str(n): f"{n} " + ("a long text " * 40 if n in LONG else "short") for n in range(BATCH + 30)
    }
    collection = Collection.of(texts, {"q": "which is long?"}, {"q": {"3": 1}}, name="cut")
    settings = EmbedderSettings(
        model=str(TINY / "embedder"), max_length=24, device="cpu", dtype="float32"
    )
    with pytest.warns(TruncationWarning) as seen:
        Stages(collection, Store(tmp_path)).embed_documents(settings)
    (warning,) = (each.message for each in seen if each.category is TruncationWarning)
    assert str(warning).startswith(f"embed documents with embedder: {len(LONG)} texts are longer")
    assert isinstance(warning, TruncationWarning)
    assert (warning.cut, warning.limit) == (len(LONG), 24)


def test_a_query_without_room_is_told_before_anything_is_scored(tmp_path: Path) -> None:
    """Not hours later, when its turn comes; and the limit that is named suits all queries."""
    documents = {str(n): f"figs grow on tree {n}" for n in range(9)}
    texts = ["figs? " * n for n in [1] * 30 + [200, 400, 300]]
    queries = {str(n): text for n, text in enumerate(texts)}
    judged = {name: {"1": 1} for name in queries}
    collection = Collection.of(documents, queries, judged, name="figs")
    stages = Stages(collection, Store(tmp_path))
    ranking = stages.bm25(9, "en")
    reranker = {"model": str(TINY / "reranker"), "device": "cpu", "dtype": "float32"}
    settings = RerankerSettings(**reranker, max_length=256)
    with pytest.raises(TooLongError, match=r"raise max_length above \d+\.$") as told:
        stages.rerank(ranking, settings, 9)
    assert stages.scored_pairs == 0
    limit = int(str(told.value).rstrip(".").split()[-1])
    with pytest.raises(TooLongError):
        stages.rerank(ranking, RerankerSettings(**reranker, max_length=limit), 9)
    assert stages.scored_pairs == 0
    with pytest.warns(TruncationWarning):
        stages.rerank(ranking, RerankerSettings(**reranker, max_length=limit + 1), 9)
    assert stages.scored_pairs == len(queries) * len(documents)


def test_other_warnings_of_a_stage_are_passed_on(tmp_path: Path) -> None:
    """What is collected meanwhile is given to whoever listens, as it was."""
    collection = Collection.of({"a": "figs"}, {"q": "what?"}, {"q": {"a": 1}}, name="one")
    stages = Stages(collection, Store(tmp_path))

    def broken() -> None:
        with stages._stage("a stage", 1, 0):
            warnings.warn("batches are half as large", MemoryWarning, stacklevel=1)
            raise ZeroDivisionError

    with pytest.warns(MemoryWarning, match="half as large"), pytest.raises(ZeroDivisionError):
        broken()
