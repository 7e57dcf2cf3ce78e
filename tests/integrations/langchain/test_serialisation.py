"""Writing, reading, pickling and copying keep every field and never the token."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
from langchain_core.load import dumpd, dumps, load, loads
from pydantic import SecretStr

from langchain_qwen_retrieval import QwenCrossEncoder, QwenEmbeddings, QwenReranker
from qwen_retrieval.errors import SettingsError
from qwen_retrieval.testing import FakeEmbedder

pytestmark = [
    pytest.mark.usefixtures("doubled"),
    pytest.mark.filterwarnings("ignore:.*(load|loads).*is in beta"),
]

TOKEN = "hf_verysecret"  # noqa: S105 - invented
CLASSES = [QwenEmbeddings, QwenReranker, QwenCrossEncoder]
NAMES = ["langchain_qwen_retrieval"]
SHARED = {
    "model": "somewhere/else",
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
EMBEDDER = {
    **SHARED,
    "query_instruction": "",
    "document_prompt": "text: ",
    "prefixed_query": "as_is",
    "dimensions": 64,
    "normalize": False,
    "vector_type": "int8",
    "vector_ranges": ((-1.0,) * 64, (1.0,) * 64),
}
RERANKER = {**SHARED, "instruction": "", "score_type": "logit"}
COMPRESSOR = {**RERANKER, "top_n": 0, "score_threshold": 0.0, "metadata_fields": ("title",)}
CASES = [
    (QwenEmbeddings, EMBEDDER),
    (QwenReranker, COMPRESSOR),
    (QwenCrossEncoder, RERANKER),
    *((cls, {}) for cls in CLASSES),
    *((cls, SERVED) for cls in CLASSES),  # which excludes some of the others
]


def test_the_cases_cover_every_field() -> None:
    """A field that is added must be added above."""
    for cls, values in CASES[:3]:
        assert cls.model_fields.keys() - values.keys() <= {"token", "query_prompt", *SERVED}
        defaults = cls().model_dump()
        assert [name for name, value in values.items() if value == defaults[name]] == []


@pytest.mark.parametrize(("cls", "values"), CASES)
def test_langchains_load_reads_what_it_wrote(cls: type[Any], values: dict[str, Any]) -> None:
    """Every field comes back, with its type."""
    made = cls(**values)
    made_again = loads(dumps(made), allowed_objects=[cls], valid_namespaces=NAMES)
    assert type(made_again) is cls
    assert made_again == made
    assert made_again.settings == made.settings
    assert load(dumpd(made), allowed_objects=[cls], valid_namespaces=NAMES) == made
    assert {name: getattr(made_again, name) for name in values} == values


@pytest.mark.parametrize(("cls", "values"), CASES)
def test_pickling_keeps_every_field(cls: type[Any], values: dict[str, Any]) -> None:
    """Workers get the same object, which opens its own model."""
    made = cls(**values)
    made_again = pickle.loads(pickle.dumps(made))  # noqa: S301 - written the line before
    assert made_again == made
    assert {name: getattr(made_again, name) for name in values} == values


@pytest.mark.parametrize("cls", CLASSES)
def test_the_path_of_a_class_is_its_module(cls: type[Any]) -> None:
    """Saved chains hold it, so it must not change."""
    modules = {
        "QwenEmbeddings": "embeddings",
        "QwenReranker": "reranker",
        "QwenCrossEncoder": "cross_encoder",
    }
    assert cls.lc_id() == ["langchain_qwen_retrieval", modules[cls.__name__], cls.__name__]
    assert cls.get_lc_namespace() == cls.lc_id()[:-1]
    assert cls.is_lc_serializable()


@pytest.mark.parametrize("cls", CLASSES)
def test_the_token_is_never_written(cls: type[Any]) -> None:
    """`langchain_core.load` writes the name of a secret; a reader may bring its own."""
    made = cls(token=TOKEN)
    written = dumps(made)
    texts = [written, repr(made), str(made), made.model_dump_json(), str(made.settings)]
    assert [text for text in texts if TOKEN in text] == []
    assert TOKEN.encode() not in pickle.dumps(made)
    assert dumpd(made)["kwargs"]["token"] == {"lc": 1, "type": "secret", "id": ["HF_TOKEN"]}
    without = loads(written, allowed_objects=[cls], valid_namespaces=NAMES)
    assert without.token is None
    secrets = {"HF_TOKEN": "hf_mine"}
    mine = loads(written, allowed_objects=[cls], valid_namespaces=NAMES, secrets_map=secrets)
    assert mine.token == SecretStr("hf_mine")


def test_the_token_reaches_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is resolved where the model is opened, and only there."""
    given = []

    def opened(settings: Any, *, token: str | None, loaded: Any) -> FakeEmbedder:
        given.append(token)
        return FakeEmbedder(settings)

    monkeypatch.setattr("langchain_qwen_retrieval.embeddings.open_embedder", opened)
    QwenEmbeddings(token=TOKEN).embed_query("a")
    QwenEmbeddings().embed_query("a")
    QwenEmbeddings(token=TOKEN).model_copy().embed_query("a")
    assert given == [TOKEN, None, TOKEN]


def test_an_open_object_can_be_pickled_and_copied() -> None:
    """What comes out is unopened, equal, and works after the original is closed."""
    embeddings = QwenEmbeddings(dimensions=64)
    vector = embeddings.embed_query("a b")
    others = [
        pickle.loads(pickle.dumps(embeddings)),  # noqa: S301 - as above
        copy.copy(embeddings),
        copy.deepcopy(embeddings),
        embeddings.model_copy(deep=True),
    ]
    embeddings.close()
    for other in others:
        assert other.settings == embeddings.settings
        assert other.embed_query("a b") == vector


def test_a_copy_with_other_fields_uses_them() -> None:
    """`model_copy` is how a frozen object gets another setting."""
    wide = QwenEmbeddings(dimensions=64)
    assert len(wide.embed_query("a")) == 64
    narrow = wide.model_copy(update={"dimensions": 32})
    assert len(narrow.embed_query("a")) == 32
    assert narrow.cache_namespace != wide.cache_namespace


class Loaded:
    """Stands for a sentence-transformers model; what it holds is not looked at here."""

    class transformers_model:  # noqa: N801 - the name of the original's property
        """Its network."""

        name_or_path = "somewhere/loaded"


def test_an_already_loaded_model_is_used_and_not_written() -> None:
    """Its weights cannot be found again from a name, so writing and pickling it say so."""
    embeddings = QwenEmbeddings.from_loaded(Loaded(), dimensions=64)
    assert embeddings.settings.model == "somewhere/loaded"
    assert embeddings.dimensions == 64
    assert QwenEmbeddings.from_loaded(Loaded(), model="mine").settings.model == "mine"
    assert dumpd(embeddings)["type"] == "not_implemented"
    with pytest.raises(NotImplementedError):
        loads(dumps(embeddings), allowed_objects=[QwenEmbeddings], valid_namespaces=NAMES)
    with pytest.raises(SettingsError, match="give model=<folder>"):
        pickle.dumps(embeddings)


def test_an_already_loaded_model_reaches_the_core(monkeypatch: pytest.MonkeyPatch) -> None:
    """So it does from a copy."""
    given = []

    def opened(settings: Any, *, token: str | None, loaded: Any) -> FakeEmbedder:
        given.append(loaded)
        return FakeEmbedder(settings)

    monkeypatch.setattr("langchain_qwen_retrieval.embeddings.open_embedder", opened)
    loaded = Loaded()
    embeddings = QwenEmbeddings.from_loaded(loaded)
    embeddings.embed_query("a")
    copy.deepcopy(embeddings).embed_query("a")
    assert [each is loaded for each in given] == [True, True]
