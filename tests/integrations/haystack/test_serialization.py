"""Saved pipelines come back whole; tokens are never saved."""

import copy
import json
import pickle
from dataclasses import fields
from typing import Any

import pytest
from haystack import Document, Pipeline
from haystack.core.errors import SerializationError
from haystack.utils import ComponentDevice, Secret
from haystack.utils.device import Device, DeviceMap

from haystack_integrations.components.embedders.qwen_retrieval import (
    QwenDocumentEmbedder,
    QwenTextEmbedder,
)
from haystack_integrations.components.rankers.qwen_retrieval import QwenRanker

from .conftest import Opened

MODEL: dict[str, Any] = {
    "model": "somebody/a-model",
    "revision": "abc",
    "source": "modelscope",
    "local_files_only": True,
    "trust_remote_code": True,
    "safetensors_only": False,
    "device": ("cuda:0", "cuda:1"),
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
    "token": Secret.from_env_var("MY_TOKEN"),
}
EMBEDDER: dict[str, Any] = {
    **MODEL,
    "query_instruction": "Find\nit",
    "document_prompt": "doc: ",
    "prefixed_query": "as_is",
    "dimensions": 2,
    "normalize": False,
    "vector_type": "int8",
    "vector_ranges": ((0.1, 0.25), (1.0, 1e-7)),
}
DOCUMENTS: dict[str, Any] = {"meta_fields_to_embed": ["title"], "embedding_separator": " \n|"}
RANKER: dict[str, Any] = {
    **MODEL,
    **DOCUMENTS,
    "instruction": "Judge: it",
    "score_type": "logit",
    "top_k": 0,
    "score_threshold": 0.0,
    "scale_score": False,
}
SERVED = {"server": "vllm", "base_url": "http://gpu.example:8000", "served_model": "ours"}
COMPONENTS = [
    (QwenTextEmbedder, EMBEDDER),
    (QwenDocumentEmbedder, {**EMBEDDER, **DOCUMENTS}),
    (QwenRanker, RANKER),
    (QwenTextEmbedder, SERVED),
    (QwenRanker, SERVED),
]
each = pytest.mark.parametrize(("kind", "values"), COMPONENTS)


def _again(component: Any) -> Any:
    pipeline = Pipeline()
    pipeline.add_component("it", component)
    return Pipeline.loads(pipeline.dumps()).get_component("it")


@each
def test_every_parameter_survives_saving(kind: Any, values: dict[str, Any]) -> None:
    """Through `Pipeline.dumps` and `loads`, without an allow-list, each with its own value."""
    unset = {field.name for field in fields(kind)} - set(values) - set(SERVED)
    if values is not SERVED:  # which excludes most of the others
        assert unset <= {"query_prompt"}  # which excludes query_instruction; below
    again = _again(kind(**values))
    assert again.settings == kind(**values).settings
    for name, value in values.items():
        assert value != getattr(kind(), name), f"{name} does not differ from its default"
        listed = value if name == "token" else json.loads(json.dumps(value))
        assert getattr(again, name) == listed
    assert again.to_dict() == kind(**values).to_dict()


@pytest.mark.parametrize("way", [_again, copy.deepcopy])
def test_score_type_survives_saving_without_scale_score(way: Any) -> None:
    """`scale_score` alone would bring it back, so it is left out here."""
    again = way(QwenRanker(score_type="logit"))
    assert (again.settings.score_type, again.scale_score) == ("logit", None)


@pytest.mark.parametrize("kind", [QwenTextEmbedder, QwenDocumentEmbedder])
def test_query_prompt_survives_saving(kind: Any) -> None:
    """White space at its end included."""
    assert _again(kind(query_prompt="query: ")).query_prompt == "query: "


@pytest.mark.parametrize(
    "device",
    [
        None,
        "cuda:1",
        ComponentDevice.from_str("cuda:1"),
        ComponentDevice.from_multiple(DeviceMap({"a": Device.gpu(0), "b": Device.cpu()})),
    ],
)
def test_device_survives_saving_as_it_was_given(device: Any) -> None:
    """A ComponentDevice comes back as one."""
    again = _again(QwenRanker(device=device))
    assert again.device == device
    assert again.settings.device == QwenRanker(device=device).settings.device


def test_token_is_saved_as_a_variables_name_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its value appears in neither the YAML nor a pickle."""
    monkeypatch.setenv("MY_TOKEN", "hf_value")
    ranker = QwenRanker(token=Secret.from_env_var("MY_TOKEN"))
    pipeline = Pipeline()
    pipeline.add_component("it", ranker)
    assert "hf_value" not in pipeline.dumps()
    assert b"hf_value" not in pickle.dumps(ranker)
    assert Pipeline.loads(pipeline.dumps()).get_component("it").token == ranker.token  # type: ignore[attr-defined] # a ranker


@pytest.mark.parametrize("token", ["hf_value", Secret.from_token("hf_value")])
def test_plain_token_is_refused_when_saving(token: Any) -> None:
    """Haystack's own rule, with its own words."""
    ranker = QwenRanker(token=token)
    for save in (ranker.to_dict, lambda: pickle.dumps(ranker)):
        with pytest.raises(ValueError, match="Use an alternative secret type") as caught:
            save()
        assert "hf_value" not in str(caught.value)


def test_component_around_a_loaded_model_is_refused_when_saving() -> None:
    """Saved under a name, another model could come back."""

    class Loaded:
        transformers_model = None

    with pytest.raises(SerializationError, match="save the model to a folder"):
        QwenRanker.from_loaded(Loaded(), model="m").to_dict()


@each
def test_pickles_and_copies_run(kind: Any, values: dict[str, Any]) -> None:
    """They have every parameter, and the sockets that pipelines connect."""
    made = kind(**values)
    for again in (pickle.loads(pickle.dumps(made)), copy.deepcopy(made)):  # noqa: S301 - ours
        assert again.to_dict() == made.to_dict()
        assert (
            again.__haystack_input__._sockets_dict.keys()
            == made.__haystack_input__._sockets_dict.keys()
        )
        Pipeline().add_component("it", again)


def test_pickled_component_opens_its_own_model(opened: Opened) -> None:
    """An open model stays behind; the copy opens another when it runs."""
    embedder = QwenTextEmbedder(query_instruction="I")
    found = embedder.run("green")
    again = pickle.loads(pickle.dumps(embedder))  # noqa: S301 - ours
    assert len(opened) == 1
    assert again.run("green") == found
    assert len(opened) == 2


def test_whole_pipeline_gives_the_same_after_saving(
    opened: Opened, documents: list[Document]
) -> None:
    """Connections included."""
    pipeline = Pipeline()
    pipeline.add_component("embedder", QwenDocumentEmbedder(meta_fields_to_embed=["title"]))
    pipeline.add_component("ranker", QwenRanker(top_k=2))
    pipeline.connect("embedder.documents", "ranker.documents")
    data = {"embedder": {"documents": documents}, "ranker": {"query": "green"}}
    assert Pipeline.loads(pipeline.dumps()).run(data) == pipeline.run(data)
