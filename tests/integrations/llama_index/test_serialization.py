"""Fields, dictionaries, pickles and hashes of both classes."""

from __future__ import annotations

import json
import pickle
from dataclasses import fields
from typing import Any, get_type_hints

import pytest
from llama_index.core.callbacks import CallbackManager, LlamaDebugHandler
from llama_index.core.ingestion.pipeline import get_transformation_hash
from llama_index.core.schema import NodeWithScore, TextNode

from llama_index.embeddings.qwen_retrieval import QwenEmbedding
from llama_index.postprocessor.qwen_retrieval import QwenRerank
from qwen_retrieval import EmbedderSettings, RerankerSettings
from qwen_retrieval.testing import FakeEmbedder, FakeReranker

HIDDEN = "s3cret"

SHARED: dict[str, Any] = {
    "model": "some/other",
    "revision": "v2",
    "source": "modelscope",
    "local_files_only": True,
    "trust_remote_code": True,
    "safetensors_only": False,
    "device": ("cpu", "cuda:1"),
    "dtype": "float32",
    "precision": "int8",
    "attention": "eager",
    "backend": "onnx",
    "max_length": 64,
    "too_long": "refuse",
    "batch_size": 5,
    "batch_tokens": 99,
    "progress_bar": True,
    "server": "dashscope",
    "base_url": "http://gpu.example:8000",
    "served_model": "ours",
    "timeout": 1.5,
    "max_retries": 0,
    "max_concurrency": 2,
    "verify_tls": False,
    "check_server": True,
}
NEEDS: dict[str, dict[str, Any]] = {
    "base_url": {"server": "dashscope"},
    "served_model": {"server": "dashscope"},
}
"""What a field cannot be set without."""

OTHER: dict[type[Any], dict[str, Any]] = {
    QwenEmbedding: SHARED
    | {
        "query_instruction": "Find code",
        "query_prompt": "query: ",
        "document_prompt": "passage: ",
        "prefixed_query": "as_is",
        "dimensions": 64,
        "normalize": False,
        "vector_type": "float16",
        "vector_ranges": ((-1.0, -0.5), (1.0, 0.5)),
    },
    QwenRerank: SHARED | {"instruction": "Find code", "score_type": "logit"},
}
OWN: dict[type[Any], dict[str, Any]] = {
    QwenEmbedding: {"embed_batch_size": 3, "num_workers": 2},
    QwenRerank: {"top_n": 0, "score_threshold": 0.25, "keep_retrieval_score": False},
}
SETTINGS: dict[type[Any], Any] = {QwenEmbedding: EmbedderSettings, QwenRerank: RerankerSettings}
EACH = [
    pytest.param(kind, name, value, id=f"{kind.__name__}-{name}")
    for kind in OTHER
    for name, value in (OTHER[kind] | OWN[kind]).items()
]
KINDS = pytest.mark.parametrize("kind", list(OTHER))


def pickled(component: Any) -> Any:
    """Return what another process gets."""
    return pickle.loads(pickle.dumps(component))  # noqa: S301 - written on the same line


@KINDS
def test_every_setting_of_the_core_is_a_field_with_its_type_and_default(kind: type[Any]) -> None:
    """A setting added to the core is missing here until the adapter has it."""
    hints = get_type_hints(SETTINGS[kind])
    expected = {field.name: (hints[field.name], field.default) for field in fields(SETTINGS[kind])}
    here = kind.model_fields
    assert {
        name: (here[name].annotation, here[name].default) for name in expected if name in here
    } == expected


@KINDS
def test_every_field_is_among_those_tested_below(kind: type[Any]) -> None:
    """So no new field escapes the tests of serialisation."""
    llama_index = {"callback_manager", "rate_limiter", "embeddings_cache", "model_name", "token"}
    assert set(OTHER[kind] | OWN[kind]) == set(kind.model_fields) - llama_index


@pytest.mark.parametrize(("kind", "name", "value"), EACH)
def test_a_field_survives_dictionary_json_and_pickle(
    kind: type[Any], name: str, value: Any
) -> None:
    """What comes back has the same fields and opens with the same settings."""
    component = kind(**{name: value}, **NEEDS.get(name, {}))
    written = component.to_dict()
    assert written[name] == value
    for again in (
        kind.from_dict(written),
        kind.from_dict(json.loads(json.dumps(written))),
        kind.from_json(component.to_json()),
        pickled(component),
        kind.model_validate(component.model_dump()),
        component.model_copy(),
        component.model_copy(deep=True),
    ):
        assert again.to_dict() == written
        assert getattr(again, name) == value
        assert again.settings == component.settings


@pytest.mark.parametrize(("kind", "name", "value"), EACH)
def test_a_differing_setting_gives_a_differing_transformation_hash(
    kind: type[Any], name: str, value: Any
) -> None:
    """LlamaIndex's ingestion cache must not mix them up; the same settings share it."""
    nodes = [TextNode(text="cats")]
    needs = NEEDS.get(name, {})
    changed = get_transformation_hash(nodes, kind(**{name: value}, **needs))
    assert changed != get_transformation_hash(nodes, kind(**needs))
    assert changed == get_transformation_hash(nodes, kind(**{name: value}, **needs))


@KINDS
def test_the_token_is_in_no_dictionary_and_no_pickle(kind: type[Any]) -> None:
    """It has to be given again."""
    component = kind(token=HIDDEN)
    assert HIDDEN.encode() not in pickle.dumps(component)
    assert HIDDEN not in component.to_json() + component.model_dump_json()
    assert pickled(component).token is None
    assert component.token.get_secret_value() == HIDDEN


@KINDS
def test_the_class_is_named_in_what_is_written(kind: type[Any]) -> None:
    """LlamaIndex tells components apart by it."""
    assert kind().to_dict()["class_name"] == kind.class_name() == kind.__name__


def test_a_pickle_of_a_used_embedder_opens_its_own(embedders: list[FakeEmbedder]) -> None:
    """Neither weights nor callbacks travel, and the original goes on working."""
    manager = CallbackManager([LlamaDebugHandler(print_trace_on_end=False)])
    embedding = QwenEmbedding(dimensions=64, callback_manager=manager)
    vector = embedding.get_query_embedding("cats")
    twin = pickled(embedding)
    assert len(embedders) == 1
    assert twin.get_query_embedding("cats") == vector
    assert len(embedders) == 2
    assert embedding.callback_manager is manager
    assert embedding.get_query_embedding("cats") == vector


def test_a_pickle_of_a_used_reranker_opens_its_own(
    rerankers: list[FakeReranker], nodes: list[NodeWithScore]
) -> None:
    """As with the embedder."""
    reranker = QwenRerank(top_n=2, instruction="Own")
    ranked = reranker.postprocess_nodes(nodes, query_str="cats")
    twin = pickled(reranker)
    assert twin.postprocess_nodes(nodes, query_str="cats") == ranked
    assert len(rerankers) == 2
