"""What the tests of the evaluation share."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

# Helpers lie beside the tests, and importlib mode puts no folder on the path.
sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]
os.environ["HF_HUB_OFFLINE"] = "1"


@pytest.fixture(scope="session")
def material() -> Path:
    """The collections that do not belong to the repository."""
    folder = os.environ.get("QWEN_RETRIEVAL_MATERIAL")
    if not folder:
        pytest.skip("QWEN_RETRIEVAL_MATERIAL is not set, so there are no collections")
    return Path(folder) / "data"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A collection of six documents and four queries, one of them without an answer."""
    made = tmp_path / "fruit"
    made.mkdir()
    texts = {
        "a": ("Apples", "red apples grow on trees"),
        "b": ("", "the sky is blue"),
        "c": ("Cherries", "sweet and red"),
        "d": ("Dates", "dates grow on palm trees"),
        "e": ("", ""),
        "f": ("Figs", "figs are sweet – très doux"),
    }
    queries = {"1": "which fruit is red?", "2": "what is sweet", "3": "blue sky", "4": "nothing"}
    judged = [("1", "a", 2), ("1", "c", 1), ("2", "c", 1), ("2", "f", 1), ("2", "b", 0)]
    judged += [("3", "b", 1), ("4", "e", 0)]
    rows = [{"_id": n, "title": title, "text": text} for n, (title, text) in texts.items()]
    asked = [{"_id": n, "text": text} for n, text in queries.items()]
    for name, objects in (("corpus", rows), ("queries", asked)):
        lines = [json.dumps(each, ensure_ascii=False) for each in objects]
        (made / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    lines = ["query-id\tcorpus-id\tscore", *("\t".join(map(str, each)) for each in judged)]
    (made / "qrels.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return made
