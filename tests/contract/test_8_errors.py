"""Promise 8: errors name the value, the limit and the remedy, through every framework alike."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qwen_retrieval.errors import (
    ModelError,
    ModelNotFoundError,
    NonFiniteError,
    QwenRetrievalError,
    SettingsError,
    WrongModelError,
)
from qwen_retrieval.local.encoders import Qwen3Embedder
from qwen_retrieval.local.scorers import RerankerReplica

from .texts import DOCUMENTS, QUESTION

WRONG: dict[str, Any] = {
    "model": "",
    "source": "the moon",
    "dtype": "int4",
    "precision": "int3",
    "backend": "vllm",
    "too_long": "maybe",
    "max_length": 0,
    "batch_size": -3,
    "batch_tokens": 0,
    "server": "triton",
    "timeout": -1.0,
    "max_retries": -1,
    "max_concurrency": 0,
}
WRONG_EMBEDDER: dict[str, Any] = {
    "prefixed_query": "perhaps",
    "vector_type": "int4",
    "dimensions": 0,
}
WRONG_RERANKER: dict[str, Any] = {"score_type": "stars"}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_setting_is_refused_when_it_is_made(anything: Any, name: str) -> None:
    """Promise 8: by name and value, with what to give instead, as a ValueError."""
    refuse(anything, name, WRONG[name])


@pytest.mark.parametrize("name", WRONG_EMBEDDER)
def test_a_wrong_embedder_setting_is_refused_when_it_is_made(embedder: Any, name: str) -> None:
    """Promise 8: the same for the embedder's own settings."""
    refuse(embedder, name, WRONG_EMBEDDER[name])


@pytest.mark.parametrize("name", WRONG_RERANKER)
def test_a_wrong_reranker_setting_is_refused_when_it_is_made(reranker: Any, name: str) -> None:
    """Promise 8: the same for the reranker's own settings."""
    refuse(reranker, name, WRONG_RERANKER[name])


def refuse(make: Any, name: str, value: object) -> None:
    """Check that a value is refused by the core's own error, not one of the framework's."""
    with pytest.raises(SettingsError) as caught:
        make(**{name: value})
    assert isinstance(caught.value, ValueError)
    message = str(caught.value)
    assert f"{name} is {value!r}" in message
    assert any(word in message for word in ("give ", "choose "))


def test_codes_without_ranges_are_refused(embedder: Any) -> None:
    """Promise 8: ranges taken from a batch would change with the batch."""
    with pytest.raises(SettingsError, match="calibrate"):
        embedder(vector_type="int8")


def test_an_unknown_parameter_is_refused(anything: Any) -> None:
    """Promise 8: a misspelt setting is not dropped in silence."""
    with pytest.raises((TypeError, ValueError), match="dimension_s"):
        anything(dimension_s=3)


def test_a_model_of_the_other_kind_is_refused(computing: Any, folders: Any) -> None:
    """Promise 8: a reranker given to an embedder and the other way round, by name."""
    released = {"embedder": "Qwen/Qwen3-Reranker-0.6B", "reranker": "Qwen/Qwen3-Embedding-0.6B"}
    with pytest.raises(WrongModelError, match=released[computing.kind]) as caught:
        computing(model=released[computing.kind])
    assert isinstance(caught.value, ValueError)
    other = folders.reranker if computing.kind == "embedder" else folders.embedder
    with pytest.raises(WrongModelError, match=str(other)):
        use(computing, computing(model=str(other)))


def test_a_missing_model_is_named(computing: Any, tmp_path: Path) -> None:
    """Promise 8: no such folder is an OSError that names it, at the first call."""
    missing = str(tmp_path / "no-such-model")
    face = computing(model=missing, local_files_only=True)
    with pytest.raises(ModelNotFoundError, match="no-such-model") as caught:
        use(computing, face)
    assert isinstance(caught.value, OSError)
    assert isinstance(caught.value, ModelError)


def test_a_number_that_is_not_finite_is_an_error(
    computing: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise 8: NaN never reaches a vector store; the error names the text's place."""

    def broken(compute: Any) -> Any:
        def wrapper(self: Any, items: Any) -> Any:
            rows = np.array(compute(self, items))
            rows[-1] = np.nan
            return rows

        return wrapper

    for kind in (Qwen3Embedder, RerankerReplica):
        monkeypatch.setattr(kind, "compute", broken(kind.compute))
    face, remedy = computing(), "dtype"
    if not computing.subject.local:
        from servers import faults

        computing.subject.running().inject(faults.nan)
        remedy = "float32 or bfloat16"
    with pytest.raises(NonFiniteError, match=rf"\d+ came out as NaN.*{remedy}") as caught:
        use(computing, face)
    assert isinstance(caught.value, ArithmeticError)


def test_all_errors_have_one_base(computing: Any, tmp_path: Path) -> None:
    """Promise 8: one `except` catches whatever this library raises on purpose."""
    with pytest.raises(QwenRetrievalError):
        computing(batch_size=0)
    with pytest.raises(QwenRetrievalError):
        use(computing, computing(model=str(tmp_path)))


def test_nothing_is_printed(anything: Any, capfd: pytest.CaptureFixture[str]) -> None:
    """Promise 8: the library writes neither to stdout nor to stderr."""
    use(anything, anything())
    written = capfd.readouterr()
    assert written.out == ""
    assert written.err == ""


def use(make: Any, face: Any) -> Any:
    """Return what one short call gives."""
    if make.kind == "embedder":
        return face.documents(["a", "b"])
    return face.scores(QUESTION, DOCUMENTS)
