"""The fixtures: one maker of faces for each class and way, the checkpoints, and the reference."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from sentence_transformers import CrossEncoder, SentenceTransformer

from qwen_retrieval import EmbedderSettings, RerankerSettings, open_embedder, open_reranker

# Importlib mode puts no folder on the path.
sys.path[:0] = [str(Path(__file__).resolve().parents[1])]

from .checkpoints import Checkpoints  # noqa: E402 - found through the line above
from .faces import EMBEDDERS, RERANKERS, SUBJECTS, Face, Maker, is_adapter, makers  # noqa: E402 - the same
from .frameworks import MISSING, REQUIRE  # noqa: E402 - the same
from .reference import ReferenceEmbedder, ReferenceReranker  # noqa: E402 - the same

Make = Callable[..., Face]


def pytest_report_header() -> list[str]:
    """Name the frameworks that are left out, which is never done in silence."""
    return _left_out()


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Name them again at the end, where quiet runs show it too."""
    for line in _left_out():
        terminalreporter.write_line(line)


def _left_out() -> list[str]:
    return [
        f"contract: {each.name} is left out, {each.package} is not installed"
        f" (pip install 'qwen-retrieval[{each.extra}]'; {REQUIRE}={each.name} makes this a failure)"
        for each in MISSING
    ]


@pytest.fixture(scope="session")
def folders() -> Checkpoints:
    """The checkpoints' folders."""
    return Checkpoints()


@pytest.fixture(scope="session", autouse=True)
def _held(folders: Checkpoints) -> Iterator[None]:
    """Keep both models loaded, so that each test shares the weights instead of loading them."""
    common = {"dtype": "float32", "device": "cpu"}
    held = [
        open_embedder(EmbedderSettings(model=str(folders.embedder), **common)),
        open_reranker(RerankerSettings(model=str(folders.reranker), **common)),
    ]
    held[0].embed_documents(["load"])
    held[1].score([("load", "now")])
    yield
    for each in held:
        each.close()
    for each in stoppable():
        each.stop()


@pytest.fixture(scope="session")
def reference_embedder(folders: Checkpoints) -> ReferenceEmbedder:
    """Transformers' plain forward of the embedder."""
    return ReferenceEmbedder(folders.embedder)


@pytest.fixture(scope="session")
def reference_reranker(folders: Checkpoints) -> ReferenceReranker:
    """Transformers' plain forward of the reranker."""
    return ReferenceReranker(folders.reranker)


@pytest.fixture
def direct(folders: Checkpoints) -> Iterator[Callable[..., Any]]:
    """Open the core itself, to compare with: ``direct("embedder", dimensions=64)``."""
    opened: list[Any] = []

    def open_core(kind: str, **values: Any) -> Any:
        given = {"dtype": "float32", "device": "cpu", **values}
        if kind == "embedder":
            settings = EmbedderSettings(**{"model": str(folders.embedder), **given})
            opened.append(open_embedder(settings))
        else:
            opened.append(
                open_reranker(RerankerSettings(**{"model": str(folders.reranker), **given}))
            )
        return opened[-1]

    yield open_core
    for each in opened:
        each.close()


@pytest.fixture
def own_folder(folders: Checkpoints, tmp_path: Path) -> Callable[[str], str]:
    """Give a checkpoint another path, so that its weights are shared with no other test."""

    def linked(kind: str) -> str:
        path = tmp_path / kind
        path.symlink_to(getattr(folders, kind), target_is_directory=True)
        return str(path)

    return linked


@pytest.fixture(scope="session")
def loaded(folders: Checkpoints) -> dict[str, Any]:
    """Both models as sentence-transformers loads them."""
    how: dict[str, Any] = {"device": "cpu", "model_kwargs": {"dtype": torch.float32}}
    return {
        "embedder": SentenceTransformer(str(folders.embedder), **how),
        "reranker": CrossEncoder(str(folders.reranker), **how),
    }


def stoppable() -> list[Any]:
    """Return the servers that tests have started."""
    faces = sys.modules.get(f"{__package__}.servers_faces")
    return [] if faces is None else faces.RUNNING


def _making(name: str, params: list[Maker]) -> Any:
    kinds = {each.subject in EMBEDDERS for each in params}

    def named(maker: Maker) -> str:
        if len(kinds) == 1:
            return str(maker)
        return f"{maker}-{'embedder' if maker.subject in EMBEDDERS else 'reranker'}"

    @pytest.fixture(name=name, params=params, ids=named)
    def making(request: pytest.FixtureRequest, folders: Checkpoints) -> Iterator[Make]:
        maker: Maker = request.param
        kind = "embedder" if maker.subject in EMBEDDERS else "reranker"
        made: list[Face] = []

        def make(**values: Any) -> Face:
            common = maker.subject.common(str(getattr(folders, kind)))
            face = Face(maker.subject(**{**common, **values}), maker.asynchronous)
            made.append(face)
            return face

        make.subject = maker.subject  # type: ignore[attr-defined]
        make.kind = kind  # type: ignore[attr-defined]
        make.asynchronous = maker.asynchronous  # type: ignore[attr-defined]
        yield make
        for face in made:
            face.subject.close()

    return making


def _computes(subject: type[Any]) -> bool:
    return bool(subject.computes)


def _computes_here(subject: type[Any]) -> bool:
    return bool(subject.computes and subject.local)


embedder = _making("embedder", makers(EMBEDDERS))
computing_embedder = _making("computing_embedder", makers(EMBEDDERS, _computes))
embedder_adapter = _making("embedder_adapter", makers(EMBEDDERS, is_adapter))
async_embedder_adapter = _making(
    "async_embedder_adapter", [each for each in makers(EMBEDDERS, is_adapter) if each.asynchronous]
)
reranker = _making("reranker", makers(RERANKERS))
computing_reranker = _making("computing_reranker", makers(RERANKERS, _computes))
reranker_adapter = _making("reranker_adapter", makers(RERANKERS, is_adapter))
ranker = _making("ranker", makers(RERANKERS, lambda subject: bool(subject.orders)))
ranker_adapter = _making(
    "ranker_adapter", makers(RERANKERS, lambda subject: is_adapter(subject) and subject.orders)
)
computing_here = _making("computing_here", makers(SUBJECTS, _computes_here))
async_computing_here = _making(
    "async_computing_here",
    [each for each in makers(SUBJECTS, _computes_here) if each.asynchronous],
)
async_computing = _making(
    "async_computing", [each for each in makers(SUBJECTS, _computes) if each.asynchronous]
)
computing = _making("computing", makers(SUBJECTS, _computes))
anything = _making("anything", makers(SUBJECTS))
