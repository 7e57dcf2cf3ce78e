"""Weights are loaded late and once, shared by who needs the same, and freed by the last."""

from __future__ import annotations

import asyncio
import copy
import gc
import multiprocessing
import os
import pickle
import threading
import time
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from loaded import computed_dtypes
from samples import PASSAGES

from qwen_retrieval import EmbedderSettings, RerankerSettings, open_embedder, open_reranker, threads
from qwen_retrieval.errors import SettingsError
from qwen_retrieval.local import embedder as embedder_module
from qwen_retrieval.local import reranker as reranker_module
from qwen_retrieval.local.embedder import LocalEmbedder
from qwen_retrieval.local.reranker import LocalReranker
from qwen_retrieval.local.weights import Shelf


@pytest.fixture(autouse=True)
def shelves(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Empty shelves at the beginning and at the end: other suites may hold models all along."""
    shelves = []
    for kind in (LocalEmbedder, LocalReranker):
        shelves.append(Shelf[Any]())
        monkeypatch.setattr(kind, "shelf", shelves[-1])
    yield
    gc.collect()
    assert list(map(len, shelves)) == [0, 0]


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The device of every model loaded during the test, in order."""
    noted: list[str] = []
    for module, name in (
        (embedder_module, "load_sentence_transformer"),
        (reranker_module, "load_cross_encoder"),
    ):
        original = getattr(module, name)

        def noting(*args: Any, original: Any = original) -> Any:
            noted.append(args[2])
            return original(*args)

        monkeypatch.setattr(module, name, noting)
    yield noted
    gc.collect()


def settings(folder: Path, **others: Any) -> EmbedderSettings:
    """Return float32 settings for a folder."""
    values = {"dtype": "float32", "device": "cpu", **others}
    return EmbedderSettings(model=str(folder), **values)


class TestLoading:
    """When and how often."""

    def test_opening_loads_nothing(self, embedder64: Path, causal: Path, loads: list[str]) -> None:
        """Constructing is free, and so is closing what was never used."""
        embedder = open_embedder(settings(embedder64))
        reranker = open_reranker(RerankerSettings(model=str(causal)))
        assert len(LocalEmbedder.shelf) == len(LocalReranker.shelf) == 0
        embedder.close()
        reranker.close()
        assert open_embedder(EmbedderSettings(dimensions=256)).dimensions == 256
        assert open_embedder(EmbedderSettings()).dimensions == 1024
        assert loads == []

    def test_dimensions_and_instructions_share_weights(
        self, embedder64: Path, causal: Path, loads: list[str]
    ) -> None:
        """What does not determine the weights does not load them again."""
        embedders = [
            open_embedder(settings(embedder64, **others))
            for others in (
                {},
                {"dimensions": 32},
                {"query_instruction": "other"},
                {"normalize": False},
                {"batch_size": 3},
                {"document_prompt": "passage: "},
                {"device": ("cpu",)},
                {} if torch.cuda.is_available() else {"device": None},
            )
        ]
        found = [embedder.embed_documents(["text"]) for embedder in embedders]
        assert loads == ["cpu"]
        assert len(LocalEmbedder.shelf) == 1
        assert found[1].shape == (1, 32)
        rerankers = [
            open_reranker(RerankerSettings(model=str(causal), dtype="float32", instruction=task))
            for task in (None, "other")
        ]
        scores = [reranker.score([("a", "b")]) for reranker in rerankers]
        assert len(loads) == 2
        assert scores[0] != scores[1]
        for handle in (*embedders, *rerankers):
            handle.close()

    @pytest.mark.parametrize(
        "others", [{"dtype": "bfloat16"}, {"attention": "eager"}, {"device": ("cpu", "cpu")}]
    )
    def test_what_determines_weights_loads_others(
        self, embedder64: Path, loads: list[str], others: dict[str, Any]
    ) -> None:
        """Another dtype, attention or device is another model."""
        first, second = (
            open_embedder(settings(embedder64)),
            open_embedder(settings(embedder64, **others)),
        )
        first.embed_documents(["text"])
        second.embed_documents(["text"])
        assert len(LocalEmbedder.shelf) == 2
        first.close()
        second.close()

    def test_racing_threads_load_once(self, embedder64: Path, loads: list[str]) -> None:
        """Eight threads that come first together wait for one load, with one handle or many."""
        handles = [open_embedder(settings(embedder64)) for _ in range(4)] * 2
        barrier, found = threading.Barrier(8), []

        def race(handle: Any) -> None:
            barrier.wait()
            found.append(handle.embed_documents(PASSAGES))

        racers = [threading.Thread(target=race, args=(handle,)) for handle in handles]
        for racer in racers:
            racer.start()
        for racer in racers:
            racer.join(60)
        assert loads == ["cpu"]
        assert len(found) == 8
        assert all(np.array_equal(each, found[0]) for each in found)
        for handle in handles:
            handle.close()

    def test_different_models_may_be_loaded_at_once(
        self, embedder64: Path, embedder128: Path, causal: Path, causal64: Path
    ) -> None:
        """The loader changes the whole process for a moment; nothing of that may stay or mix."""
        initialiser, dtype = torch.nn.init.normal_, torch.get_default_dtype()
        calls = [
            (open_embedder(settings(embedder64, dtype="bfloat16")), "embed_documents", [["a"]]),
            (open_embedder(settings(embedder128)), "embed_documents", [["a"]]),
            (
                open_reranker(RerankerSettings(model=str(causal), dtype="bfloat16")),
                "score",
                [[("a", "b")]],
            ),
            (
                open_reranker(RerankerSettings(model=str(causal64), dtype="float32")),
                "score",
                [[("a", "b")]],
            ),
        ]
        barrier, errors = threading.Barrier(len(calls)), []

        def load(handle: Any, name: str, args: list[Any]) -> None:
            barrier.wait()
            try:
                getattr(handle, name)(*args)
            except Exception as error:  # noqa: BLE001 - shown below
                errors.append(error)

        racers = [threading.Thread(target=load, args=call) for call in calls]
        for racer in racers:
            racer.start()
        for racer in racers:
            racer.join(60)
        assert errors == []
        assert torch.nn.init.normal_ is initialiser
        assert torch.get_default_dtype() is dtype
        for handle, _, _ in calls:
            wanted = torch.bfloat16 if handle.settings.dtype == "bfloat16" else torch.float32
            model = handle.replicas()[0]._model  # type: ignore[attr-defined] # the local one
            assert computed_dtypes(model) == {wanted}
            handle.close()

    def test_only_one_model_is_built_at_a_time(
        self, embedder64: Path, causal: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Loading of different models never overlaps."""
        import sentence_transformers

        inside, most = [0], [0]
        for name in ("SentenceTransformer", "CrossEncoder"):
            original = getattr(sentence_transformers, name)

            def slow(*args: Any, original: Any = original, **kwargs: Any) -> Any:
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                time.sleep(0.05)
                try:
                    return original(*args, **kwargs)
                finally:
                    inside[0] -= 1

            monkeypatch.setattr(sentence_transformers, name, slow)
        embedder = LocalEmbedder(settings(embedder64))
        reranker = LocalReranker(RerankerSettings(model=str(causal), dtype="float32"))
        racers = [threading.Thread(target=handle.replicas) for handle in (embedder, reranker)]
        for racer in racers:
            racer.start()
        for racer in racers:
            racer.join(60)
        assert most == [1]
        embedder.close()
        reranker.close()

    def test_a_failed_load_can_be_tried_again(
        self, embedder64: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """An error while loading leaves nothing behind."""
        handle = open_embedder(settings(embedder64))
        with monkeypatch.context() as patch:

            def fail(*_: Any) -> Any:
                raise OSError("disk on fire")

            patch.setattr(embedder_module, "load_sentence_transformer", fail)
            with pytest.raises(OSError, match="disk on fire"):
                handle.embed_documents(["x"])
        assert len(LocalEmbedder.shelf) == 0
        assert handle.embed_documents(["x"]).shape == (1, 64)
        handle.close()


class TestFreeing:
    """Who frees, and when."""

    def test_the_last_close_frees(self, embedder64: Path) -> None:
        """Earlier ones only give up their hold; then no reference to the model is left."""
        first, second = LocalEmbedder(settings(embedder64)), LocalEmbedder(settings(embedder64))
        first.embed_documents(["x"])
        second.embed_documents(["x"])
        model = weakref.ref(first.replicas()[0]._model)
        first.close()
        first.close()
        gc.collect()
        assert model() is not None
        assert second.embed_documents(["x"]).shape == (1, 64)
        gc.disable()
        try:
            second.close()
            assert model() is None, "the memory would be held until the collector comes by"
        finally:
            gc.enable()
        assert len(LocalEmbedder.shelf) == 0

    def test_a_forgotten_handle_frees(self, embedder64: Path) -> None:
        """Going out of scope is as good as closing, also for the collector."""
        handle = LocalEmbedder(settings(embedder64))
        handle.embed_documents(["x"])
        model = weakref.ref(handle.replicas()[0]._model)
        cycle = [handle]
        cycle.append(cycle)  # type: ignore[arg-type] # a cycle that only the collector finds
        del handle, cycle
        gc.collect()  # finds the handle, which gives up the model
        gc.collect()  # finds the model
        assert len(LocalEmbedder.shelf) == 0
        assert model() is None

    def test_the_collector_may_run_inside_the_shelf(self) -> None:
        """A handle that is collected while its own thread is at the shelf does not lock it up."""
        shelf: Shelf[str] = Shelf()
        shelf.acquire("old", lambda: ["old"])
        with shelf._guard:
            shelf.release("old")
        assert len(shelf) == 0

    def test_a_loaded_model_is_let_go(self, embedder64: Path) -> None:
        """The library keeps no hold on the caller's model after closing."""
        from sentence_transformers import SentenceTransformer

        model = SentenceTransformer(str(embedder64), device="cpu")
        handle = open_embedder(EmbedderSettings(), loaded=model)
        handle.embed_documents(["x"])
        handle.close()
        gone = weakref.ref(model)
        del model
        gc.collect()
        assert gone() is None

    async def test_closing_while_loading_does_not_block_the_loop(
        self, embedder64: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """`aclose` waits for a load under way in a thread of its own."""
        original, began = embedder_module.load_sentence_transformer, threading.Event()

        def slow(*args: Any) -> Any:
            began.set()
            time.sleep(0.3)
            return original(*args)

        monkeypatch.setattr(embedder_module, "load_sentence_transformer", slow)
        handle = open_embedder(settings(embedder64))
        call = asyncio.create_task(handle.aembed_documents(["x"]))
        while not began.is_set():  # noqa: ASYNC110 - set by a thread
            await asyncio.sleep(0.001)
        closing = asyncio.create_task(handle.aclose())
        await asyncio.sleep(0)
        started = time.perf_counter()
        await asyncio.sleep(0.001)
        assert time.perf_counter() - started < 0.2
        assert (await call).shape == (1, 64)
        await closing


class TestDevices:
    """Several devices."""

    def test_two_copies_give_the_same(
        self, embedder64: Path, causal: Path, loads: list[str]
    ) -> None:
        """`device=("cpu", "cpu")` loads two and shares the batches between them."""
        texts = [f"{passage} {n}" for n in range(10) for passage in PASSAGES]
        one = open_embedder(settings(embedder64, batch_size=4))
        two = open_embedder(settings(embedder64, batch_size=4, device=("cpu", "cpu")))
        assert np.array_equal(two.embed_documents(texts), one.embed_documents(texts))
        assert loads == ["cpu"] * 3
        first = open_reranker(RerankerSettings(model=str(causal), dtype="float32", batch_size=2))
        both = open_reranker(
            RerankerSettings(
                model=str(causal), dtype="float32", batch_size=2, device=("cpu", "cpu")
            )
        )
        assert both.rerank("query", PASSAGES) == first.rerank("query", PASSAGES)
        for handle in (one, two, first, both):
            handle.close()


class TestPickling:
    """Handles that travel."""

    @pytest.mark.parametrize("duplicate", [lambda h: pickle.loads(pickle.dumps(h)), copy.deepcopy])  # noqa: S301 - our own
    def test_settings_travel_and_secrets_do_not(self, embedder64: Path, duplicate: Any) -> None:
        """A copy opens the same model; neither token nor weights go with it."""
        handle = LocalEmbedder(settings(embedder64), token="hf_secret")  # noqa: S106 - not one
        handle.embed_documents(["x"])
        assert b"hf_secret" not in pickle.dumps(handle)
        assert len(pickle.dumps(handle)) < 2_000
        again = duplicate(handle)
        assert again.settings == handle.settings
        assert again._token is None
        assert np.array_equal(again.embed_documents(["x"]), handle.embed_documents(["x"]))
        again.close()
        handle.close()

    def test_a_loaded_model_cannot_travel(self, embedder64: Path) -> None:
        """Its settings would open another one."""
        from sentence_transformers import SentenceTransformer

        handle = open_embedder(
            EmbedderSettings(), loaded=SentenceTransformer(str(embedder64), device="cpu")
        )
        with pytest.raises(SettingsError, match=r"already loaded .* save the model to a folder"):
            pickle.dumps(handle)

    def test_no_token_in_any_repr(self, embedder64: Path) -> None:
        """Neither the handle nor its settings show it."""
        handle = LocalEmbedder(settings(embedder64), token="hf_secret")  # noqa: S106 - not one
        assert "hf_secret" not in f"{handle!r} {handle} {handle.settings!r} {handle.key()}"


def _in_child(connection: Any) -> None:
    """Use the async way in a forked child."""

    async def work() -> str:
        return await threads.in_thread(lambda stop: threading.current_thread().name)

    connection.send(asyncio.run(asyncio.wait_for(work(), 20)))
    os._exit(0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
async def test_a_forked_child_has_threads_of_its_own() -> None:
    """The parent's pool has no threads in a child, so the child gets another one."""
    await threads.in_thread(lambda stop: None)
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()
    child = context.Process(target=_in_child, args=(there,))
    child.start()
    try:
        assert here.poll(30), "the child waits for threads that it does not have"
        assert here.recv().startswith("qwen-retrieval")
    finally:
        child.kill()
        child.join(10)
