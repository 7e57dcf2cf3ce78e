"""Measuring retrieval on one's own data, with the models and settings that production uses.

::

    from qwen_retrieval import EmbedderSettings
    from qwen_retrieval.evaluation import Collection, evaluate

    collection = Collection.of(
        documents={"a": "Apples are red.", "b": "The sky is blue."},
        queries={"q": "which fruit is red?"},
        judgements={"q": {"a": 1}},
    )
    report = evaluate(collection, embedder=EmbedderSettings())
    print(report.to_markdown())
"""

from qwen_retrieval.evaluation.certainty import Difference, Estimate
from qwen_retrieval.evaluation.collection import Collection, read_folder
from qwen_retrieval.evaluation.flow import evaluate
from qwen_retrieval.evaluation.report import Report, Run

__all__ = [
    "Collection",
    "Difference",
    "Estimate",
    "Report",
    "Run",
    "evaluate",
    "read_folder",
]
