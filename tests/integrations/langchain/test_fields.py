"""The fields are the core's settings, checked once and by the core."""

from __future__ import annotations

from dataclasses import MISSING, fields
from typing import Any

import pytest
from langchain_core.documents import BaseDocumentCompressor
from langchain_core.embeddings import Embeddings
from pydantic import SecretStr, ValidationError
from pydantic_core import PydanticUndefined

from langchain_qwen_retrieval import QwenCrossEncoder, QwenEmbeddings, QwenReranker
from qwen_retrieval import EmbedderSettings, RerankerSettings
from qwen_retrieval.errors import SettingsError, WrongModelError

OWN_WORDS = {
    QwenEmbeddings: {"token"},
    QwenReranker: {"token", "top_n", "score_threshold", "metadata_fields"},
    QwenCrossEncoder: {"token"},
}
SETTINGS = {
    QwenEmbeddings: EmbedderSettings,
    QwenReranker: RerankerSettings,
    QwenCrossEncoder: RerankerSettings,
}
CLASSES = list(SETTINGS)


@pytest.mark.parametrize("cls", CLASSES)
def test_fields_and_defaults_are_those_of_the_settings(cls: type[Any]) -> None:
    """A setting added to the core, or a default changed there, must be so here too."""
    ours = {
        name: MISSING if field.default is PydanticUndefined else field.default
        for name, field in cls.model_fields.items()
        if name not in OWN_WORDS[cls]
    }
    assert ours == {field.name: field.default for field in fields(SETTINGS[cls])}


@pytest.mark.parametrize("cls", CLASSES)
def test_every_own_word_is_optional(cls: type[Any]) -> None:
    """The classes can be made without arguments."""
    assert cls.model_fields.keys() >= OWN_WORDS[cls]
    assert cls().settings == SETTINGS[cls]()


OTHER = {
    "revision": "abc",
    "source": "modelscope",
    "local_files_only": True,
    "trust_remote_code": True,
    "safetensors_only": False,
    "device": ("cpu", "cpu"),
    "dtype": "float32",
    "precision": "int8",
    "attention": "eager",
    "backend": "onnx",
    "max_length": 77,
    "too_long": "refuse",
    "batch_size": 3,
    "batch_tokens": 99,
    "progress_bar": True,
    "timeout": 1.5,
    "max_retries": 0,
    "max_concurrency": 2,
    "verify_tls": False,
    "check_server": True,
}
SERVED = {"server": "vllm", "base_url": "http://gpu.example:8000", "served_model": "ours"}
OTHER_EMBEDDER = {
    **OTHER,
    "model": "Qwen/Qwen3-Embedding-4B",
    "query_instruction": "",
    "document_prompt": "text: ",
    "prefixed_query": "as_is",
    "dimensions": 64,
    "normalize": False,
    "vector_type": "int8",
    "vector_ranges": ((-1.0,) * 64, (1.0,) * 64),
}
OTHER_RERANKER = {
    **OTHER,
    "model": "Qwen/Qwen3-Reranker-4B",
    "instruction": "",
    "score_type": "logit",
}


@pytest.mark.parametrize(
    ("cls", "values"),
    [
        (QwenEmbeddings, OTHER_EMBEDDER),
        (QwenReranker, OTHER_RERANKER),
        (QwenCrossEncoder, OTHER_RERANKER),
    ],
)
def test_every_field_reaches_the_settings(cls: type[Any], values: dict[str, Any]) -> None:
    """What a user writes is what the model is opened with."""
    untested = {field.name for field in fields(SETTINGS[cls])} - values.keys()
    # Those of a server exclude others, and are tested below; so does query_instruction.
    assert untested <= {"query_prompt", *SERVED}
    assert cls(**values).settings == SETTINGS[cls](**values)
    assert cls(**SERVED).settings == SETTINGS[cls](**SERVED)


def test_a_query_prompt_reaches_the_settings() -> None:
    """It excludes an instruction, so it is tested alone."""
    assert QwenEmbeddings(query_prompt="query: ").settings.query_prompt == "query: "


@pytest.mark.parametrize("cls", CLASSES)
def test_an_unknown_field_is_refused(cls: type[Any]) -> None:
    """A misspelt setting is an error rather than ignored."""
    with pytest.raises(ValidationError, match="dimension_count"):
        cls(dimension_count=3)


@pytest.mark.parametrize(
    ("cls", "values", "message"),
    [
        (QwenEmbeddings, {"dimensions": 31}, "dimensions is 31, .* gives 32 to 1024"),
        (QwenEmbeddings, {"batch_size": "8"}, "batch_size is '8'"),
        (QwenEmbeddings, {"dtype": "int4"}, "dtype is 'int4'"),
        (QwenEmbeddings, {"vector_type": "int8"}, "without vector_ranges"),
        (QwenReranker, {"score_type": "stars"}, "score_type is 'stars'"),
        (QwenReranker, {"top_n": -1}, "top_n is -1"),
        (QwenReranker, {"top_n": True}, "top_n is True"),
        (QwenReranker, {"score_threshold": float("nan")}, "score_threshold is nan"),
        (QwenCrossEncoder, {"max_length": 0}, "max_length is 0"),
    ],
)
def test_a_wrong_value_raises_the_cores_error_at_construction(
    cls: type[Any], values: dict[str, Any], message: str
) -> None:
    """The error is the same in every framework, and names value, limit and remedy."""
    with pytest.raises(SettingsError, match=message):
        cls(**values)


@pytest.mark.parametrize(
    ("cls", "model"),
    [
        (QwenEmbeddings, "Qwen/Qwen3-Reranker-0.6B"),
        (QwenReranker, "Qwen/Qwen3-Embedding-0.6B"),
        (QwenCrossEncoder, "Qwen/Qwen3-Embedding-0.6B"),
    ],
)
def test_a_released_model_of_the_other_kind_is_refused(cls: type[Any], model: str) -> None:
    """An embedder given as a reranker is an error before anything is downloaded."""
    with pytest.raises(WrongModelError, match=model):
        cls(model=model)


@pytest.mark.parametrize("cls", CLASSES)
def test_objects_are_frozen(cls: type[Any]) -> None:
    """A changed field would not reach a model that is open, so it cannot be changed."""
    with pytest.raises(ValidationError, match="frozen"):
        cls().batch_size = 4


def test_objects_are_what_langchain_takes() -> None:
    """Vector stores and retrievers check the types."""
    assert isinstance(QwenEmbeddings(), Embeddings)
    assert isinstance(QwenReranker(), BaseDocumentCompressor)


def test_the_token_is_taken_as_a_string_or_a_secret() -> None:
    """Either is kept as a secret."""
    for token in ("hf_x", SecretStr("hf_x")):
        assert QwenEmbeddings(token=token).token == SecretStr("hf_x")
