"""Models from ModelScope: its own download to a folder, then as any folder."""

from __future__ import annotations

import inspect
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from needs import need
from qwen_retrieval import EmbedderSettings, RerankerSettings, open_embedder, open_reranker
from qwen_retrieval.errors import ModelNotFoundError
from qwen_retrieval.local.embedder import LocalEmbedder

USED = {"model_id", "revision", "local_files_only", "token", "allow_patterns"}
"""Parameters of `modelscope.snapshot_download` that the library relies on."""


class Modelscope(ModuleType):
    """A double that downloads nothing and notes how it was called."""

    def __init__(self, folder: Path | Exception) -> None:
        super().__init__("modelscope")
        self.folder = folder
        self.calls: list[dict[str, Any]] = []

    def snapshot_download(
        self,
        model_id: str,
        revision: str | None = None,
        cache_dir: str | None = None,
        user_agent: str | None = None,
        local_files_only: bool = False,  # noqa: FBT001, FBT002 - as the real one
        **others: Any,
    ) -> str:
        """Return the folder."""
        self.calls.append(
            {"model_id": model_id, "revision": revision, "local_files_only": local_files_only}
            | others
        )
        if isinstance(self.folder, Exception):
            raise self.folder
        return str(self.folder)


def test_a_model_is_downloaded_to_a_folder_and_used(
    embedder64: Path, causal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Id, revision, token and `local_files_only` reach ModelScope; the rest is a folder."""
    double = Modelscope(embedder64)
    monkeypatch.setitem(sys.modules, "modelscope", double)
    opened = LocalEmbedder(
        EmbedderSettings(
            model="own/embedder", source="modelscope", revision="v2", local_files_only=True
        ),
        token="ms_secret",  # noqa: S106 - not one
    )
    assert double.calls == [], "nothing is fetched before the first call"
    found = opened.embed_documents(["text"])
    opened.close()
    assert double.calls == [
        {
            "model_id": "own/embedder",
            "revision": "v2",
            "local_files_only": True,
            "token": "ms_secret",
        }
    ]
    direct = open_embedder(EmbedderSettings(model=str(embedder64)))
    assert np.array_equal(found, direct.embed_documents(["text"]))
    direct.close()
    double.folder = causal
    reranker = open_reranker(RerankerSettings(model="own/reranker", source="modelscope"))
    assert reranker.score([("a", "b")]).shape == (1,)
    reranker.close()
    assert double.calls[1] == {
        "model_id": "own/reranker", "revision": None, "local_files_only": False,
    }  # fmt: skip


def test_a_folder_needs_no_modelscope(embedder64: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is there already is not looked up."""
    monkeypatch.setitem(sys.modules, "modelscope", None)
    opened = open_embedder(EmbedderSettings(model=str(embedder64), source="modelscope"))
    assert opened.embed_documents(["text"]).shape == (1, 64)
    opened.close()


def test_a_missing_package_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """ImportError with the pip command."""
    monkeypatch.setitem(sys.modules, "modelscope", None)
    opened = open_embedder(EmbedderSettings(model="own/embedder", source="modelscope"))
    with pytest.raises(ImportError, match=r"pip install 'qwen-retrieval\[modelscope\]'"):
        opened.embed_documents(["text"])


def test_a_failed_download_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever ModelScope raises becomes one error with the remedy."""
    monkeypatch.setitem(sys.modules, "modelscope", Modelscope(ValueError("no such model")))
    opened = open_embedder(EmbedderSettings(model="own/embedder", source="modelscope"))
    with pytest.raises(
        ModelNotFoundError, match=r"own/embedder cannot be had .*no such model.*check the name"
    ):
        opened.embed_documents(["text"])


def test_the_double_is_called_as_the_real_one_can_be() -> None:
    """The parameters used exist in the installed package."""
    need("modelscope", "modelscope")
    from modelscope import snapshot_download

    assert set(inspect.signature(snapshot_download).parameters) >= USED
