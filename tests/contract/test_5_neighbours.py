"""Promise 5: a result depends on nothing but the text and the settings."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from qwen_retrieval.errors import SettingsError

from .faces import array
from .texts import AWKWARD, DOCUMENTS, OWN_TASK, QUESTION, RAGGED

MIXED = (*RAGGED, *DOCUMENTS)


@pytest.mark.parametrize("verb", ["documents", "queries"])
def test_a_vector_does_not_depend_on_its_neighbours(embedder: Any, verb: str) -> None:
    """Promise 5: in a ragged batch, in another order, and alone, within 1e-5."""
    embed, texts = getattr(embedder(), verb), embedder.subject.usable(MIXED)
    together = array(embed(texts))
    alone = np.concatenate([array(embed([text])) for text in texts])
    backwards = array(embed(texts[::-1]))[::-1]
    np.testing.assert_allclose(together, alone, atol=1e-5)
    np.testing.assert_allclose(together, backwards, atol=1e-5)


def test_a_score_does_not_depend_on_its_neighbours(reranker: Any) -> None:
    """Promise 5: the same for documents that are ranked together."""
    face = reranker()
    together = face.scores(QUESTION, MIXED)
    alone = [face.scores(QUESTION, [text])[0] for text in MIXED]
    backwards = face.scores(QUESTION, MIXED[::-1])[::-1]
    assert together == pytest.approx(alone, abs=1e-5)
    assert together == pytest.approx(backwards, abs=1e-5)


def test_batch_sizes_change_nothing(computing: Any) -> None:
    """Promise 5: however the sequences are put into batches."""
    results, texts = [], computing.subject.usable(MIXED)
    for sizes in ({"batch_size": 1}, {"batch_size": 3, "batch_tokens": 64}, {}):
        face = computing(**sizes)
        if computing.kind == "embedder":
            results.append(array(face.documents(texts)))
        else:
            results.append(array(face.scores(QUESTION, texts)))
    for found in results[1:]:
        np.testing.assert_allclose(found, results[0], atol=1e-5)


@pytest.mark.parametrize(
    "settings",
    [{}, {"dimensions": 48, "query_instruction": OWN_TASK}, {"normalize": False}],
    ids=["default", "own", "raw"],
)
def test_every_class_gives_the_cores_vectors(
    computing_embedder: Any, direct: Any, settings: dict[str, Any]
) -> None:
    """Promise 5: all adapters, sync and async, give the core's within 1e-6, servers 1e-5."""
    if not computing_embedder.subject.local and "normalize" in settings:
        return  # refused, see promise 1
    texts = [*RAGGED, AWKWARD["newlines"], AWKWARD["end of turn"], AWKWARD["many scripts"]]
    texts = computing_embedder.subject.usable(texts)
    face, core = computing_embedder(**settings), direct("embedder", **settings)
    expected = core.embed_documents(texts)
    scale = tolerance(computing_embedder) * max(1, np.abs(expected).max())
    np.testing.assert_allclose(array(face.documents(texts)), expected, atol=scale)
    # One query a call where the framework has it so: another batch may round another way.
    batches = [texts] if face.subject.many_queries else [[text] for text in texts]
    asked = np.concatenate([core.embed_queries(batch) for batch in batches])
    np.testing.assert_allclose(array(face.queries(texts)), asked, atol=scale)


@pytest.mark.parametrize(
    "settings",
    [{}, {"instruction": OWN_TASK}, {"score_type": "logit"}],
    ids=["default", "own", "logit"],
)
def test_every_class_gives_the_cores_scores(
    computing_reranker: Any, direct: Any, settings: dict[str, Any]
) -> None:
    """Promise 5: the same for the scores."""
    subject = computing_reranker.subject
    if ("instruction" in settings and not subject.takes_instruction) or (
        "score_type" in settings and not subject.gives_logits
    ):
        return  # refused, see promises 3 and 4
    texts = subject.usable([*DOCUMENTS, *AWKWARD.values()])
    found = computing_reranker(**settings).scores(QUESTION, texts)
    pairs = [(QUESTION, text) for text in texts]
    expected = direct("reranker", **settings).score(pairs)
    near = tolerance(computing_reranker)
    if "score_type" in settings:
        near *= 4  # a logit moves at least four times as far as its probability: p' = p (1 - p)
    assert found == pytest.approx(expected.tolist(), abs=near, rel=near)


def test_every_class_gives_the_cores_order(ranker: Any, direct: Any) -> None:
    """Promise 5: and for the order."""
    if not ranker.subject.computes:
        assert ranker().rerank(QUESTION, MIXED) == ranker().rerank(QUESTION, MIXED)
        return
    expected = direct("reranker").rerank(QUESTION, MIXED)
    found = ranker().rerank(QUESTION, MIXED)
    assert [each.index for each in found] == [each.index for each in expected]


def tolerance(make: Any) -> float:
    """Return how near the core a class is: a server computes in its own way."""
    return 1e-6 if make.subject.local else 1e-5


def test_a_loaded_model_gives_the_same_numbers(
    computing: Any, folders: Any, loaded: dict[str, Any]
) -> None:
    """Promise 5: an already loaded sentence-transformers model is used as it is."""
    if not computing.subject.local:
        folder = str(getattr(folders, computing.kind))
        with pytest.raises(SettingsError, match="leave one of the two out"):
            computing.subject.from_loaded(
                loaded[computing.kind], **computing.subject.common(folder)
            )
        return
    face, own = computing(), computing()
    own.close()
    own.subject = face.subject.from_loaded(
        loaded[computing.kind], model=str(getattr(folders, computing.kind))
    )
    if computing.kind == "embedder":
        for verb in ("queries", "documents"):
            expected = array(getattr(face, verb)(RAGGED))
            np.testing.assert_allclose(array(getattr(own, verb)(RAGGED)), expected, atol=1e-6)
    else:
        scores = face.scores(QUESTION, DOCUMENTS)
        assert own.scores(QUESTION, DOCUMENTS) == pytest.approx(scores, abs=1e-6)
    own.close()
