"""What a user can choose, how it travels, and what a stored vector is said to depend on."""

from __future__ import annotations

import json
import pickle
from dataclasses import fields
from typing import Any

import pytest

from qwen_retrieval import EmbedderSettings, RerankerSettings
from qwen_retrieval.errors import IndexMismatchError, SettingsError, WrongModelError
from qwen_retrieval.settings import require_same_embedder

CHANGED: dict[str, Any] = {
    "model": "other/model",
    "revision": "abc123",
    "source": "modelscope",
    "local_files_only": True,
    "trust_remote_code": True,
    "safetensors_only": False,
    "device": ("cpu", "cuda:1"),
    "dtype": "bfloat16",
    "precision": "int8",
    "attention": "eager",
    "backend": "onnx",
    "max_length": 512,
    "too_long": "refuse",
    "batch_size": 5,
    "batch_tokens": 99,
    "progress_bar": True,
    "server": "vllm",
    "base_url": "http://gpu.example:8000",
    "served_model": "ours",
    "timeout": 3.5,
    "max_retries": 0,
    "max_concurrency": 2,
    "verify_tls": "/etc/ssl/own.pem",
    "check_server": True,
    "query_instruction": "Find the opposite",
    "query_prompt": "query: ",
    "document_prompt": "passage: ",
    "prefixed_query": "as_is",
    "dimensions": 256,
    "normalize": False,
    "vector_type": "binary",
    "vector_ranges": ((-1.0, -0.5), (1.0, 0.5)),
    "instruction": "Find the opposite",
    "score_type": "logit",
}
"""For each field a value other than its default."""

COMPANIONS: dict[str, dict[str, Any]] = {
    "server": {"base_url": "http://gpu.example:8000"},
    "base_url": {"server": "vllm"},
    "served_model": {"server": "dashscope"},
}
"""What a field cannot be set without."""

BEFORE: dict[str, dict[str, Any]] = {
    "base_url": {"server": "vllm", "base_url": "http://other.example"},
    "served_model": {"server": "dashscope"},
}
"""Settings that differ from those in nothing but the field."""

MATTERS = {
    "model", "revision", "max_length", "query_instruction", "query_prompt", "document_prompt",
    "prefixed_query", "dimensions", "normalize", "vector_type", "vector_ranges",
    "precision", "server", "served_model",
}  # fmt: skip
"""What a vector depends on."""


def made(kind: type[EmbedderSettings], name: str) -> EmbedderSettings:
    """Return settings with another value than the default in this field."""
    return kind(**{name: CHANGED[name]}, **COMPANIONS.get(name, {}))


def each_field(kind: type) -> list[str]:
    """Return the names of a dataclass's fields."""
    return [field.name for field in fields(kind)]


@pytest.mark.parametrize("kind", [EmbedderSettings, RerankerSettings])
class TestTravelling:
    """Round trips."""

    def test_every_field_survives_json(self, kind: type[EmbedderSettings]) -> None:
        """`from_dict(json(to_dict()))` gives equal settings, field by field."""
        for name in each_field(kind):
            settings = made(kind, name)
            assert getattr(settings, name) != getattr(kind(), name)
            again = kind.from_dict(json.loads(json.dumps(settings.to_dict())))
            assert again == settings
            assert hash(again) == hash(settings)

    def test_every_field_survives_pickling(self, kind: type[EmbedderSettings]) -> None:
        """Settings can be sent to another process."""
        for name in each_field(kind):
            settings = made(kind, name)
            assert pickle.loads(pickle.dumps(settings)) == settings  # noqa: S301 - our own

    def test_unknown_names_are_refused(self, kind: type[EmbedderSettings]) -> None:
        """A misspelt name is named, with the ones there are."""
        with pytest.raises(SettingsError, match=r"\['dimension'\].*known are.*'batch_size'"):
            kind.from_dict({"dimension": 3})

    def test_settings_cannot_be_changed(self, kind: type[EmbedderSettings]) -> None:
        """Frozen: what a model was opened with stays so."""
        with pytest.raises(AttributeError):
            kind().batch_size = 1  # type: ignore[misc] # on purpose


def test_lists_become_hashable() -> None:
    """What comes from JSON or a user as lists is hashable all the same."""
    settings = EmbedderSettings(
        device=["cpu", "cpu"],  # type: ignore[arg-type] # JSON has no tuples
        vector_type="int8",
        vector_ranges=[[0.0], (1.0,)],  # type: ignore[arg-type] # the same
    )
    assert hash(settings) == hash(EmbedderSettings.from_dict(settings.to_dict()))
    assert settings.device == ("cpu", "cpu")
    assert settings.vector_ranges == ((0.0,), (1.0,))


SERVED: dict[str, Any] = {"server": "vllm", "base_url": "http://gpu.example:8000"}

BAD: list[tuple[type, dict[str, Any], str]] = [
    (EmbedderSettings, {"model": ""}, r"model is ''; give a hub id"),
    (EmbedderSettings, {"model": 5}, r"model is 5; give a hub id"),
    (EmbedderSettings, {"dimensions": 0}, r"dimensions is 0; .* from 1 up"),
    (EmbedderSettings, {"dimensions": True}, r"dimensions is True"),
    (EmbedderSettings, {"dimensions": 31}, r"dimensions is 31, .* gives 32 to 1024; choose"),
    (EmbedderSettings, {"dimensions": 1025}, r"dimensions is 1025, .* gives 32 to 1024; choose"),
    (
        EmbedderSettings,
        {"model": "Qwen/Qwen3-Embedding-4B", "dimensions": 2561},
        r"gives 32 to 2560; choose",
    ),
    (
        EmbedderSettings,
        {"model": "Qwen/Qwen3-Embedding-8B", "dimensions": 4097},
        r"gives 32 to 4096; choose",
    ),
    (EmbedderSettings, {"max_length": 0}, r"max_length is 0; .* from 1 up"),
    (EmbedderSettings, {"max_length": 32_769}, r"max_length is 32769, .* 32768 tokens; give at"),
    (EmbedderSettings, {"batch_size": 0}, r"batch_size is 0; .* from 1 up"),
    (EmbedderSettings, {"batch_tokens": 1.5}, r"batch_tokens is 1.5; .* from 1 up"),
    (EmbedderSettings, {"dtype": "float64"}, r"dtype is 'float64'; choose one of .*'float32'"),
    (EmbedderSettings, {"precision": "int4"}, r"precision is 'int4'; choose one of .*'int8'"),
    (EmbedderSettings, {"source": "ftp"}, r"source is 'ftp'; choose one of .*'modelscope'"),
    (EmbedderSettings, {"backend": "tf"}, r"backend is 'tf'; choose one of .*'onnx'"),
    (EmbedderSettings, {"device": ()}, r"device is empty; name one"),
    (EmbedderSettings, {"too_long": "cut"}, r"too_long is 'cut'; choose one of .*'refuse'"),
    (EmbedderSettings, {"prefixed_query": "no"}, r"prefixed_query is 'no'; choose one of"),
    (EmbedderSettings, {"vector_type": "int4"}, r"vector_type is 'int4'; choose one of .*'int8'"),
    (EmbedderSettings, {"vector_type": "uint8"}, r"'uint8' without vector_ranges.*calibrate"),
    (
        EmbedderSettings,
        {"query_instruction": "a", "query_prompt": "b"},
        r"query_instruction and query_prompt are both set; give one",
    ),
    (EmbedderSettings, {"query_instruction": 5}, r"query_instruction is 5; give a str or None"),
    (EmbedderSettings, {"document_prompt": b"x"}, r"document_prompt is b'x'; give a str or None"),
    (EmbedderSettings, {"server": "triton"}, r"server is 'triton'; choose one of .*'vllm'"),
    (EmbedderSettings, {"server": "vllm"}, r"server is 'vllm' and base_url is None; give the"),
    (RerankerSettings, {"base_url": "http://a"}, r"base_url is 'http://a', but server is None"),
    (RerankerSettings, {"served_model": "a"}, r"served_model is 'a', but server is None.*choose"),
    (EmbedderSettings, SERVED | {"base_url": "gpu:8000"}, r"base_url is 'gpu:8000'; give an addr"),
    (EmbedderSettings, SERVED | {"base_url": "http://a?key=1"}, r"without a query"),
    (EmbedderSettings, SERVED | {"base_url": "http://"}, r"base_url is 'http://'; give an address"),
    (EmbedderSettings, SERVED | {"device": "cuda"}, r"device is 'cuda', but the server 'vllm' has"),
    (EmbedderSettings, SERVED | {"safetensors_only": False}, r"safetensors_only is False, but the"),
    (
        EmbedderSettings,
        SERVED | {"precision": "int8"},
        r"precision is 'int8'.* leave precision out",
    ),
    (EmbedderSettings, SERVED | {"normalize": False}, r"normalize is False, .*; leave it out"),
    (EmbedderSettings, {"timeout": 0}, r"timeout is 0; give a number of seconds above 0"),
    (EmbedderSettings, {"timeout": float("inf")}, r"timeout is inf; give a number"),
    (EmbedderSettings, {"max_retries": -1}, r"max_retries is -1; give a whole number from 0 up"),
    (EmbedderSettings, {"max_concurrency": 0}, r"max_concurrency is 0; .* from 1 up"),
    (EmbedderSettings, {"verify_tls": None}, r"verify_tls is None; give True, False, or the path"),
    (EmbedderSettings, {"check_server": 1}, r"check_server is 1; give True or False"),
    (RerankerSettings, {"instruction": 5}, r"instruction is 5; give a str or None"),
    (RerankerSettings, {"score_type": "cosine"}, r"score_type is 'cosine'; choose one of"),
    (RerankerSettings, {"max_length": 40_961}, r"max_length is 40961, .* 40960 tokens; give at"),
]


@pytest.mark.parametrize(("kind", "values", "message"), BAD, ids=lambda v: str(v)[:40])
def test_bad_settings_are_refused_at_once(kind: type, values: dict[str, Any], message: str) -> None:
    """Value, limit and remedy are named before anything is loaded."""
    with pytest.raises(SettingsError, match=message):
        kind(**values)


def test_a_password_in_the_address_is_refused_and_not_repeated() -> None:
    """Settings are saved with chains and indexes, so no secret may be among them."""
    with pytest.raises(SettingsError, match="token=") as caught:
        EmbedderSettings(server="vllm", base_url="https://me:hunter2@gpu.example/v1")
    assert "hunter2" not in str(caught.value)


def test_dashscope_needs_no_address() -> None:
    """It has one of its own."""
    assert EmbedderSettings(server="dashscope").base_url is None


def test_a_released_model_of_the_other_kind_is_refused() -> None:
    """The catalogue knows which is which."""
    with pytest.raises(WrongModelError, match=r"Reranker-4B is a reranker; .*RerankerSettings"):
        EmbedderSettings(model="Qwen/Qwen3-Reranker-4B")
    with pytest.raises(WrongModelError, match=r"Embedding-8B is an embedder; .*EmbedderSettings"):
        RerankerSettings(model="Qwen/Qwen3-Embedding-8B")


@pytest.mark.parametrize("dimensions", [32, 33, 1023, 1024])
def test_both_ends_of_the_range_are_valid(dimensions: int) -> None:
    """32 and the full width belong to the range."""
    assert EmbedderSettings(dimensions=dimensions).dimensions == dimensions


class TestFingerprint:
    """What a vector depends on."""

    @pytest.mark.parametrize("name", each_field(EmbedderSettings))
    def test_differs_exactly_where_vectors_do(self, name: str) -> None:
        """Each field changes the fingerprint if vectors depend on it, and only then."""
        base = EmbedderSettings(**BEFORE.get(name, {}))
        changed = made(EmbedderSettings, name)
        assert (changed.fingerprint() != base.fingerprint()) == (name in MATTERS)

    def test_the_default_instruction_may_be_spelt_out(self) -> None:
        """For a released model None is the card's sentence; for others it may be another."""
        task = "Given a web search query, retrieve relevant passages that answer the query"
        spelt = EmbedderSettings(query_instruction=task)
        assert spelt.fingerprint() == EmbedderSettings().fingerprint()
        own = EmbedderSettings(model="own/model")
        assert (
            EmbedderSettings(model="own/model", query_instruction=task).fingerprint()
            != own.fingerprint()
        )

    def test_is_stable_across_versions(self) -> None:
        """Caches outlive a release: this value may only change with the number in its name."""
        assert EmbedderSettings().fingerprint() == "qwen-retrieval-3-3ced5ea763f84a69f056f52d"

    @pytest.mark.parametrize(
        "name", sorted(MATTERS - {"query_instruction", "query_prompt", "prefixed_query"})
    )
    def test_an_index_of_another_embedder_is_refused(self, name: str) -> None:
        """The setting that differs is named, with both values."""
        stored = json.loads(json.dumps(EmbedderSettings().identity()))
        changed = made(EmbedderSettings, name)
        with pytest.raises(IndexMismatchError, match=rf"{name}: .* there, .* here.*index the doc"):
            require_same_embedder(stored, changed)

    @pytest.mark.parametrize("name", sorted(set(each_field(EmbedderSettings)) - MATTERS))
    def test_an_index_of_the_same_embedder_is_accepted(self, name: str) -> None:
        """What vectors do not depend on may change; so may the instruction of queries."""
        before = BEFORE.get(name, {})
        stored = json.loads(json.dumps(EmbedderSettings(**before).identity()))
        require_same_embedder(stored, made(EmbedderSettings, name))
        other = EmbedderSettings(query_instruction="another", **before)
        require_same_embedder(stored, other)

    def test_a_record_without_a_setting_is_refused(self) -> None:
        """A record that lacks a setting says nothing of it."""
        stored = EmbedderSettings().identity()
        del stored["normalize"]
        with pytest.raises(IndexMismatchError, match="normalize"):
            require_same_embedder(stored, EmbedderSettings())
