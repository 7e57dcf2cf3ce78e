"""The components' parameters are the core's settings, by name and default."""

import inspect
from dataclasses import MISSING, fields
from typing import Any

import pytest
from haystack import component
from haystack.utils import ComponentDevice, Secret
from haystack.utils.device import Device, DeviceMap

from haystack_integrations.components.embedders.qwen_retrieval import (
    QwenDocumentEmbedder,
    QwenTextEmbedder,
)
from haystack_integrations.components.rankers.qwen_retrieval import QwenRanker
from qwen_retrieval import EmbedderSettings, RerankerSettings
from qwen_retrieval.errors import SettingsError, WrongModelError

from .conftest import Opened

DOCUMENTS = {"meta_fields_to_embed": None, "embedding_separator": "\n"}
RANKING = {"top_k": None, "score_threshold": None, "scale_score": None, **DOCUMENTS}
COMPONENTS = [
    (QwenTextEmbedder, EmbedderSettings, {}),
    (QwenDocumentEmbedder, EmbedderSettings, DOCUMENTS),
    (QwenRanker, RerankerSettings, RANKING),
]
each = pytest.mark.parametrize(("kind", "settings", "own"), COMPONENTS)


@each
def test_parameters_are_the_settings_and_haystacks_own(kind: Any, settings: Any, own: Any) -> None:
    """A setting added to the core must be offered here, with the same default."""
    token = Secret.from_env_var(["HF_API_TOKEN", "HF_TOKEN"], strict=False)
    expected = {field.name: field.default for field in fields(settings)} | own | {"token": token}
    parameters = inspect.signature(kind.__init__).parameters
    found = {name: each.default for name, each in parameters.items() if name != "self"}
    assert MISSING not in expected.values()
    assert found == expected


@each
def test_every_parameter_is_explicit_and_by_keyword(kind: Any, settings: Any, own: Any) -> None:
    """Haystack and editors read the signature; a name says what a value means."""
    parameters = list(inspect.signature(kind.__init__).parameters.values())[1:]
    assert {parameter.kind for parameter in parameters} == {inspect.Parameter.KEYWORD_ONLY}


@each
def test_settings_reach_the_core(kind: Any, settings: Any, own: Any) -> None:
    """What a component opens its model with are the values that were given."""
    assert kind().settings == settings()
    made = kind(model="a/model", batch_size=3, max_length=99, too_long="refuse")
    assert made.settings == settings(
        model="a/model", batch_size=3, max_length=99, too_long="refuse"
    )


@each
def test_wrong_settings_raise_at_construction(kind: Any, settings: Any, own: Any) -> None:
    """A pipeline with a wrong setting is refused before anything is loaded."""
    with pytest.raises(SettingsError, match="dtype is 'float8'"):
        kind(dtype="float8")
    with pytest.raises(TypeError, match="colour"):
        kind(colour="red")


def test_wrong_models_and_limits_raise_at_construction() -> None:
    """The core's own checks of released models and the ranker's limits act at once."""
    with pytest.raises(WrongModelError, match="is a reranker"):
        QwenTextEmbedder(model="Qwen/Qwen3-Reranker-0.6B")
    with pytest.raises(WrongModelError, match="is an embedder"):
        QwenRanker(model="Qwen/Qwen3-Embedding-0.6B")
    with pytest.raises(SettingsError, match="32 to 1024"):
        QwenDocumentEmbedder(dimensions=4096)
    with pytest.raises(SettingsError, match="top_k is -1"):
        QwenRanker(top_k=-1)
    with pytest.raises(SettingsError, match="score_threshold is 'high'"):
        QwenRanker(score_threshold="high")  # type: ignore[arg-type] # that is the point


@pytest.mark.parametrize(
    ("device", "expected"),
    [
        (None, None),
        ("cuda:1", "cuda:1"),
        (("cpu", "cuda:0"), ("cpu", "cuda:0")),
        (ComponentDevice.from_str("cuda:1"), "cuda:1"),
        (ComponentDevice.from_single(Device.mps()), "mps"),
        (
            ComponentDevice.from_multiple(
                DeviceMap({"a": Device.gpu(0), "b": Device.gpu(1), "c": Device.gpu(0)})
            ),
            ("cuda:0", "cuda:1"),
        ),
    ],
)
def test_device_may_be_haystacks_or_a_name(device: Any, expected: Any) -> None:
    """A ComponentDevice names one device, a device map those that share the batches."""
    assert QwenTextEmbedder(device=device).settings.device == expected


def test_token_is_resolved_when_the_model_opens(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The variable is read late, as Haystack's secrets are, and given to the core as text."""
    embedder = QwenTextEmbedder(token=Secret.from_env_var("QWEN_TEST_TOKEN"))
    monkeypatch.setenv("QWEN_TEST_TOKEN", "hf_late")
    embedder.run("x")
    QwenRanker(token="hf_plain").run("x", [])  # noqa: S106 - a made-up one
    QwenRanker(token=None).run("x", [])
    assert [model.token for model in opened] == ["hf_late", "hf_plain", None]


def test_token_is_shown_nowhere() -> None:
    """Neither the component's repr nor its attributes' spell a plain token out."""
    ranker = QwenRanker(token="hf_plain")  # noqa: S106 - a made-up one
    assert "hf_plain" not in repr(ranker) + repr(vars(ranker))


def test_components_are_registered_under_their_public_packages() -> None:
    """Saved pipelines hold these paths, so they may not move."""
    embedders = "haystack_integrations.components.embedders.qwen_retrieval"
    rankers = "haystack_integrations.components.rankers.qwen_retrieval"
    assert component.registry[f"{embedders}.text_embedder.QwenTextEmbedder"] is QwenTextEmbedder
    documents = component.registry[f"{embedders}.document_embedder.QwenDocumentEmbedder"]
    assert documents is QwenDocumentEmbedder
    assert component.registry[f"{rankers}.ranker.QwenRanker"] is QwenRanker
