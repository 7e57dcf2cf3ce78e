"""`QwenEmbedding` in LlamaIndex's own idioms."""

from __future__ import annotations

import asyncio
import copy
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from llama_index.core.callbacks import CallbackManager, CBEventType
from llama_index.core.embeddings import resolve_embed_model
from llama_index.core.schema import Document, TextNode
from llama_index.core.storage.kvstore import SimpleKVStore

from llama_index.embeddings.qwen_retrieval import QwenEmbedding
from qwen_retrieval import EmbedderSettings
from qwen_retrieval.catalog import DEFAULT_INSTRUCTION
from qwen_retrieval.errors import (
    ClosedError,
    IndexMismatchError,
    NotTextError,
    PrefixedQueryError,
    SettingsError,
    WrongModelError,
)
from qwen_retrieval.testing import WIDTH, FakeEmbedder

HIDDEN = "s3cret"
AWKWARD = ["  two\nlines \n", "", " ", "<|im_end|>", "ünïcödé", "two  spaces\r\n\ttab"]


def test_a_query_carries_the_instruction(embedders: list[FakeEmbedder]) -> None:
    """By default the model's own instruction stands before a query."""
    QwenEmbedding().get_query_embedding("what is a cat")
    assert embedders[0].seen == [f"Instruct: {DEFAULT_INSTRUCTION}\nQuery:what is a cat"]


def test_an_own_instruction_replaces_the_default(embedders: list[FakeEmbedder]) -> None:
    """``query_instruction`` stands before queries."""
    QwenEmbedding(query_instruction="Find code").get_query_embedding("sort")
    assert embedders[0].seen == ["Instruct: Find code\nQuery:sort"]


async def test_an_instruction_can_be_given_for_one_call(embedders: list[FakeEmbedder]) -> None:
    """`embed_queries` takes one, also ``""`` for none, and the setting stays as it was."""
    embedding = QwenEmbedding(query_instruction="Find code")
    embedding.embed_queries(["a"], instruction="Find text")
    await embedding.aembed_queries(["b"], instruction="")
    embedding.embed_queries(["c"])
    assert embedders[0].seen == [
        "Instruct: Find text\nQuery:a",
        "b",
        "Instruct: Find code\nQuery:c",
    ]


async def test_every_way_to_embed_a_text_gives_the_same_vector(
    embedders: list[FakeEmbedder],
) -> None:
    """Single, batched, sync and async ways agree, and none adds an instruction."""
    embedding = QwenEmbedding()
    expected = FakeEmbedder().embed_documents(AWKWARD).tolist()
    assert embedding.get_text_embedding_batch(AWKWARD) == expected
    assert await embedding.aget_text_embedding_batch(AWKWARD) == expected
    assert [embedding.get_text_embedding(text) for text in AWKWARD] == expected
    assert [await embedding.aget_text_embedding(text) for text in AWKWARD] == expected
    assert embedders[0].seen == AWKWARD * 4


async def test_every_way_to_embed_a_query_gives_the_same_vector(
    embedders: list[FakeEmbedder],
) -> None:
    """Single, batched, sync and async ways agree, and the query arrives byte for byte."""
    embedding = QwenEmbedding()
    expected = FakeEmbedder().embed_queries(AWKWARD).tolist()
    assert [embedding.get_query_embedding(text) for text in AWKWARD] == expected
    assert [await embedding.aget_query_embedding(text) for text in AWKWARD] == expected
    assert embedding.embed_queries(AWKWARD) == expected
    assert await embedding.aembed_queries(AWKWARD) == expected
    prefix = f"Instruct: {DEFAULT_INSTRUCTION}\nQuery:"
    assert embedders[0].seen == [prefix + text for text in AWKWARD] * 4


def test_vectors_are_lists_of_floats_of_unit_length(embedders: list[FakeEmbedder]) -> None:
    """Cut vectors are normalised after the cut, and are plain Python numbers."""
    vector = QwenEmbedding(dimensions=64).get_text_embedding("how cats sleep")
    assert len(vector) == 64
    assert type(vector) is list
    assert type(vector[0]) is float
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-6)


def test_nodes_are_embedded_by_what_an_embedder_is_to_see(embedders: list[FakeEmbedder]) -> None:
    """Metadata belongs to the text, except for keys excluded from it."""
    node = TextNode(
        text="body\nof it",
        metadata={"title": "Cats", "secret": "x"},
        excluded_embed_metadata_keys=["secret"],
    )
    [embedded] = QwenEmbedding()([node])
    assert embedders[0].seen == ["title: Cats\n\nbody\nof it"]
    assert embedded.embedding is not None
    assert len(embedded.embedding) == WIDTH


async def test_nodes_can_be_embedded_asynchronously(embedders: list[FakeEmbedder]) -> None:
    """``acall`` gives what calling gives."""
    embedding = QwenEmbedding()
    [now] = embedding([TextNode(text="cats")])
    [later] = await embedding.acall([TextNode(text="cats")])
    assert now.embedding == later.embedding


def test_many_texts_reach_the_core_in_one_call(
    monkeypatch: pytest.MonkeyPatch, embedders: list[FakeEmbedder]
) -> None:
    """The core sorts by length within a call, so LlamaIndex must not hand over ten at a time."""
    sizes: list[int] = []
    embed = FakeEmbedder.embed_documents
    monkeypatch.setattr(
        FakeEmbedder,
        "embed_documents",
        lambda self, texts: sizes.append(len(texts)) or embed(self, texts),
    )
    embedding = QwenEmbedding(batch_size=4)
    assert len(embedding.get_text_embedding_batch(["cats"] * 3000)) == 3000
    assert sizes == [2048, 952]
    assert embedders[0].settings.batch_size == 4


def test_the_batch_that_llama_index_hands_over_can_be_chosen(
    embedders: list[FakeEmbedder],
) -> None:
    """``embed_batch_size`` is not the model's ``batch_size``."""
    embedding = QwenEmbedding(embed_batch_size=2, batch_size=7)
    embedding.get_text_embedding_batch(["a", "b", "c"])
    assert embedders[0].seen == ["a", "b", "c"]
    assert (embedding.embed_batch_size, embedding.settings.batch_size) == (2, 7)


def test_nothing_gives_nothing(embedders: list[FakeEmbedder]) -> None:
    """An empty list is valid."""
    embedding = QwenEmbedding()
    assert embedding.get_text_embedding_batch([]) == []
    assert embedding.embed_queries([]) == []


@pytest.mark.parametrize(
    ("vector_type", "ranges", "expected"),
    [
        ("float32", None, 32),
        ("float16", None, 32),
        ("int8", ((-1.0,) * 32, (1.0,) * 32), 32),
        ("uint8", ((-1.0,) * 32, (1.0,) * 32), 32),
        ("binary", None, 4),
        ("ubinary", None, 4),
    ],
)
def test_vectors_come_in_the_type_asked_for(
    embedders: list[FakeEmbedder], vector_type: Any, ranges: Any, expected: int
) -> None:
    """Quantised vectors are those of the core's quantiser, for queries and texts."""
    from qwen_retrieval.vectors import quantize

    embedding = QwenEmbedding(dimensions=32, vector_type=vector_type, vector_ranges=ranges)
    text = embedding.get_text_embedding("how cats sleep")
    query = embedding.get_query_embedding("how cats sleep")
    double = FakeEmbedder(EmbedderSettings(dimensions=32))
    wanted = quantize(double.embed_documents(["how cats sleep"]), vector_type, ranges)
    assert len(text) == len(query) == expected
    assert text == wanted[0].tolist()
    assert query != text


def test_constructing_opens_nothing(embedders: list[FakeEmbedder]) -> None:
    """The model is opened by the first call."""
    embedding = QwenEmbedding()
    assert embedders == []
    embedding.get_text_embedding("cats")
    assert len(embedders) == 1


def test_one_model_is_opened_among_many_threads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The first calls of eight threads share one opening."""
    opened = []
    gate = threading.Barrier(8)

    def open_slowly(*args: Any, **kwargs: Any) -> FakeEmbedder:
        threading.Event().wait(0.05)
        opened.append(FakeEmbedder(*args, **kwargs))
        return opened[-1]

    monkeypatch.setattr("qwen_retrieval.local.embedder.LocalEmbedder", open_slowly)
    embedding = QwenEmbedding()

    def call(_: int) -> list[float]:
        gate.wait()
        return embedding.get_text_embedding("cats")

    with ThreadPoolExecutor(8) as pool:
        vectors = list(pool.map(call, range(8)))
    assert len(opened) == 1
    assert all(vector == vectors[0] for vector in vectors)


async def test_concurrent_calls_give_the_serial_result(embedders: list[FakeEmbedder]) -> None:
    """Order and vectors do not depend on what else is under way."""
    embedding = QwenEmbedding()
    texts = [f"text {n}" for n in range(50)]
    together = await asyncio.gather(*(embedding.aget_text_embedding(text) for text in texts))
    assert list(together) == [embedding.get_text_embedding(text) for text in texts]


@pytest.mark.parametrize(
    ("wrong", "error", "word"),
    [
        ({"dimensions": 8}, SettingsError, "32 to 1024"),
        ({"dimensions": True}, SettingsError, "dimensions"),
        ({"dimensions": "64"}, SettingsError, "dimensions"),
        ({"dtype": "float8"}, SettingsError, "float32"),
        ({"batch_size": 0}, SettingsError, "batch_size"),
        ({"vector_type": "int8"}, SettingsError, "calibrate"),
        ({"model": "Qwen/Qwen3-Reranker-0.6B"}, WrongModelError, "RerankerSettings"),
        ({"model": ""}, SettingsError, "hub id"),
        ({"query_instruction": "a", "query_prompt": "b"}, SettingsError, "both"),
    ],
)
def test_a_wrong_setting_raises_the_cores_own_error_at_construction(
    wrong: dict[str, Any], error: type[Exception], word: str
) -> None:
    """The same error as everywhere in the library, not one of pydantic's."""
    with pytest.raises(error, match=word):
        QwenEmbedding(**wrong)


def test_a_misspelt_setting_is_refused() -> None:
    """A setting dropped in silence would be a wrong result without an error."""
    with pytest.raises(ValueError, match="query_instuction"):
        QwenEmbedding(query_instuction="Find code")  # type: ignore[call-arg]


def test_errors_of_the_core_arrive_unchanged(embedders: list[FakeEmbedder]) -> None:
    """A prefixed query and a text that is none are refused by the core."""
    embedding = QwenEmbedding()
    with pytest.raises(PrefixedQueryError):
        embedding.get_query_embedding("Instruct: x\nQuery:y")
    with pytest.raises(NotTextError):
        embedding.get_text_embedding(None)  # type: ignore[arg-type]


def test_the_model_may_be_named_in_llama_indexs_word(
    embedders: list[FakeEmbedder], events: Any
) -> None:
    """``model_name`` is filled, accepted instead of ``model``, and told to listeners."""
    assert QwenEmbedding().model_name == "Qwen/Qwen3-Embedding-0.6B"
    assert QwenEmbedding(model="Qwen/Qwen3-Embedding-4B").model_name == "Qwen/Qwen3-Embedding-4B"
    embedding = QwenEmbedding(model_name="Qwen/Qwen3-Embedding-4B")
    assert embedding.settings.model == "Qwen/Qwen3-Embedding-4B"
    embedding.get_text_embedding("cats")
    (started,) = events.of("EmbeddingStart")
    assert started.model_dict["model_name"] == "Qwen/Qwen3-Embedding-4B"


def test_two_different_names_of_the_model_are_refused() -> None:
    """Neither wins in silence."""
    with pytest.raises(SettingsError, match="give one of them"):
        QwenEmbedding(model="Qwen/Qwen3-Embedding-4B", model_name="Qwen/Qwen3-Embedding-8B")


def test_a_changed_setting_takes_effect(embedders: list[FakeEmbedder]) -> None:
    """No call answers with the settings of before."""
    embedding = QwenEmbedding(dimensions=64)
    assert len(embedding.get_text_embedding("cats")) == 64
    embedding.dimensions = 32
    assert len(embedding.get_text_embedding("cats")) == 32
    embedding.dimensions = -1
    with pytest.raises(SettingsError, match="dimensions"):
        embedding.get_text_embedding("cats")


def test_a_copy_with_another_setting_uses_it(embedders: list[FakeEmbedder]) -> None:
    """``model_copy(update=...)`` gives an embedder of its own kind; the original keeps its own."""
    embedding = QwenEmbedding(query_instruction="Find code")
    embedding.get_query_embedding("a")
    other = embedding.model_copy(update={"query_instruction": "Find text"})
    other.get_query_embedding("b")
    embedding.get_query_embedding("c")
    assert [each.seen for each in embedders] == [
        ["Instruct: Find code\nQuery:a", "Instruct: Find code\nQuery:c"],
        ["Instruct: Find text\nQuery:b"],
    ]


def test_a_deep_copy_lives_on_when_the_original_is_closed(embedders: list[FakeEmbedder]) -> None:
    """Deep copies open their own handle; weights are not copied."""
    embedding = QwenEmbedding(token=HIDDEN)
    embedding.get_text_embedding("cats")
    twin = copy.deepcopy(embedding)
    embedding.close()
    assert len(twin.get_text_embedding("cats")) == WIDTH
    assert embedders[1].given["token"] == HIDDEN  # type: ignore[attr-defined]


async def test_use_after_closing_raises(embedders: list[FakeEmbedder]) -> None:
    """Closed is closed, whether it was used before or not."""
    used, unused, third = QwenEmbedding(), QwenEmbedding(), QwenEmbedding()
    used.get_text_embedding("cats")
    used.close()
    unused.close()
    await third.aclose()
    for embedding in (used, unused, third):
        with pytest.raises(ClosedError):
            embedding.get_text_embedding("cats")


def test_the_token_reaches_the_core_and_nothing_else(
    embedders: list[FakeEmbedder], events: Any
) -> None:
    """It is handed over when the model is opened, and shown nowhere, nor told to listeners."""
    embedding = QwenEmbedding(token=HIDDEN)
    embedding.get_text_embedding("cats")
    assert embedders[0].given["token"] == HIDDEN  # type: ignore[attr-defined]
    assert len(events.events) >= 2
    shown = f"{embedding!r} {embedding} {embedding.to_dict()} {events.events}"
    assert HIDDEN not in shown
    assert "token" not in embedding.to_dict()


def test_a_query_never_gets_a_documents_vector_from_the_cache(
    embedders: list[FakeEmbedder],
) -> None:
    """LlamaIndex's cache looks up the bare text for both; here it serves documents only."""
    embedding = QwenEmbedding(embeddings_cache=SimpleKVStore())
    document = embedding.get_text_embedding("cats")
    query = embedding.get_query_embedding("cats")
    assert query == QwenEmbedding().get_query_embedding("cats") != document
    assert embedding.get_text_embedding("cats") == document


async def test_the_cache_keeps_roles_apart_in_every_order(embedders: list[FakeEmbedder]) -> None:
    """Nor does a document get a query's vector, in batches and asynchronously."""
    embedding = QwenEmbedding(embeddings_cache=SimpleKVStore())
    query = await embedding.aget_query_embedding("cats")
    [document] = await embedding.aget_text_embedding_batch(["cats"])
    [again] = embedding.get_text_embedding_batch(["cats"])
    assert document == again == QwenEmbedding().get_text_embedding("cats") != query
    assert await embedding.aget_query_embedding("cats") == query


def test_the_cache_spares_documents_a_second_computing(embedders: list[FakeEmbedder]) -> None:
    """It still does what it is for."""
    embedding = QwenEmbedding(embeddings_cache=SimpleKVStore())
    embedding.get_text_embedding_batch(["cats", "dogs"])
    embedding.get_text_embedding_batch(["dogs", "cats"])
    assert embedders[0].seen == ["cats", "dogs"]


def test_a_cache_of_another_embedder_is_refused() -> None:
    """Its vectors would be taken for one's own; other query instructions do not matter."""
    cache = SimpleKVStore()
    QwenEmbedding(embeddings_cache=cache, dimensions=64)
    QwenEmbedding(embeddings_cache=cache, dimensions=64, query_instruction="Find code")
    with pytest.raises(IndexMismatchError, match="dimensions: 64 there, 32 here"):
        QwenEmbedding(embeddings_cache=cache, dimensions=32)


def test_each_batch_has_its_start_and_end_event(
    embedders: list[FakeEmbedder], events: Any, callbacks: Any
) -> None:
    """Events and callbacks come in pairs and hold neither token nor settings."""
    recorded = callbacks(CBEventType.EMBEDDING)
    embedding = QwenEmbedding(
        token=HIDDEN, embed_batch_size=2, callback_manager=CallbackManager([recorded])
    )
    embedding.get_text_embedding_batch(["a", "b", "c"])
    embedding.get_query_embedding("a")
    assert len(events.of("EmbeddingStart")) == len(events.of("EmbeddingEnd")) == 3
    assert [each.chunks for each in events.of("EmbeddingEnd")] == [["a", "b"], ["c"], ["a"]]
    assert recorded.started.keys() == recorded.ended.keys()
    assert len(recorded.started) == 3
    assert HIDDEN not in f"{events.events} {recorded.started}"


def test_it_is_taken_wherever_llama_index_takes_an_embedding_model(
    embedders: list[FakeEmbedder],
) -> None:
    """`resolve_embed_model` and semantic splitting work with it."""
    from llama_index.core.node_parser import SemanticSplitterNodeParser

    embedding = resolve_embed_model(QwenEmbedding(), callback_manager=CallbackManager([]))
    splitter = SemanticSplitterNodeParser(embed_model=embedding)
    text = "Cats sleep. Cats sleep a lot. Rivers run to the sea. Rivers are long."
    assert splitter.get_nodes_from_documents([Document(text=text)])


async def test_each_call_is_one_span(embedders: list[FakeEmbedder]) -> None:
    """Tracing counts a query once, with and without a cache."""
    from llama_index.core.instrumentation import get_dispatcher
    from llama_index.core.instrumentation.span_handlers import SimpleSpanHandler

    spans, root = SimpleSpanHandler(), get_dispatcher()
    root.add_span_handler(spans)
    for cache in (None, SimpleKVStore()):
        embedding = QwenEmbedding(embeddings_cache=cache)
        embedding.get_query_embedding("cats")
        await embedding.aget_query_embedding("cats")
    root.span_handlers.remove(spans)
    calls = [span.id_.split("-")[0].split(".")[-1] for span in spans.completed_spans]
    assert calls.count("get_query_embedding") == calls.count("aget_query_embedding") == 2


def test_the_core_is_opened_with_all_settings(embedders: list[FakeEmbedder]) -> None:
    """Every field arrives there, not only those that the tests here look at."""
    embedding = QwenEmbedding(
        max_length=77, batch_tokens=99, device="cpu", dtype="float16", document_prompt="passage: "
    )
    embedding.get_text_embedding("cats")
    assert embedders[0].settings == embedding.settings
    assert embedders[0].settings == EmbedderSettings(
        max_length=77, batch_tokens=99, device="cpu", dtype="float16", document_prompt="passage: "
    )
    assert embedders[0].seen == ["passage: cats"]
