"""What the stages say while they compute."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from qwen_retrieval import EmbedderSettings
from qwen_retrieval.errors import MemoryWarning, TruncationWarning
from qwen_retrieval.evaluation import Collection
from qwen_retrieval.evaluation.stages import BATCH, Stages
from qwen_retrieval.evaluation.store import Store

TINY = Path(__file__).parents[1] / "tiny" / "embedder"
LONG = {3, BATCH - 1, BATCH, BATCH + 20}


def test_cut_texts_are_counted_once_for_all_blocks(tmp_path: Path) -> None:
    """One warning a stage, not one a block, and it counts every text that was cut."""
    texts = {
        str(n): f"{n} " + ("a long text " * 40 if n in LONG else "short") for n in range(BATCH + 30)
    }
    collection = Collection.of(texts, {"q": "which is long?"}, {"q": {"3": 1}}, name="cut")
    settings = EmbedderSettings(model=str(TINY), max_length=24, device="cpu", dtype="float32")
    with pytest.warns(TruncationWarning) as seen:
        Stages(collection, Store(tmp_path)).embed_documents(settings)
    (warning,) = (each.message for each in seen if each.category is TruncationWarning)
    assert str(warning).startswith(f"embed documents with embedder: {len(LONG)} texts are longer")
    assert isinstance(warning, TruncationWarning)
    assert (warning.cut, warning.limit) == (len(LONG), 24)


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
