"""A real server's vectors are the local ones, through the core and every framework."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from contract.faces import EMBEDDERS, Face, Maker, array, makers
from engines import material
from engines.choices import is_ours
from engines.starting import CONTEXT, TINY
from qwen_retrieval import EmbedderSettings, open_embedder
from qwen_retrieval.doctor import examine
from qwen_retrieval.servers.engines import EMBEDDING

NEAR = 0.99999
FITS = 1500
"""Characters of a text that is never cut: a cut end may be white space, which some strip."""
COMMON = {"model": str(TINY / "embedder"), "max_length": CONTEXT, "timeout": 900.0}
"""Not how fast it is, which depends on what else the machine does, but what it answers."""

pytestmark = pytest.mark.filterwarnings("ignore::qwen_retrieval.errors.TruncationWarning")


@pytest.fixture(scope="module")
def url(serve: Any) -> Iterator[str]:
    """The server's address."""
    with serve("embedder") as address:
        yield address


@pytest.fixture(scope="module")
def texts(engine: str) -> list[str]:
    """Texts of every sort that the engine's interface lets through unchanged."""
    interface = EMBEDDING[engine]
    chosen = [*material.every(11), *material.ODD]
    if interface.takes_ids:
        chosen += material.LONG
    if interface.takes_ids or not interface.strips:
        chosen += material.PADDED
    if interface.takes_ids:
        chosen += material.CONTROL
    if interface.strips:
        chosen = [text for text in chosen if text == text.strip() and len(text) <= FITS]
    return chosen


def local(**values: Any) -> Any:
    """Return the model in this process."""
    return open_embedder(EmbedderSettings(**COMMON, dtype="float32", device="cpu", **values))


def cosine(left: Any, right: Any) -> float:
    """Return the smallest cosine of two arrays' rows."""
    left, right = array(left), array(right)
    assert left.shape == right.shape
    return float((left * right).sum(axis=1).min())


@pytest.mark.parametrize("dimensions", [None, 128, 32])
def test_vectors_are_the_local_ones(
    engine: str, url: str, texts: list[str], dimensions: int | None, record: Any
) -> None:
    """Texts of every length and sort, and questions with the default and another instruction."""
    there = open_embedder(
        EmbedderSettings(**COMMON, server=engine, base_url=url, dimensions=dimensions)
    )
    here = local(dimensions=dimensions)
    documents = cosine(there.embed_documents(texts), here.embed_documents(texts))
    queries = min(
        cosine(
            there.embed_queries(material.QUESTIONS, instruction=task),
            here.embed_queries(material.QUESTIONS, instruction=task),
        )
        for task in (None, material.INSTRUCTION)
    )
    record(
        f"smallest cosine to local, dimensions={dimensions or 'all'}",
        f"{documents:.8f} ({len(texts)} documents, the longest {max(map(len, texts)):,}"
        f" characters), {queries:.8f} ({2 * len(material.QUESTIONS)} queries)",
    )
    assert min(documents, queries) >= NEAR
    there.close()
    here.close()


@pytest.mark.parametrize("dimensions", [None, 64])
@pytest.mark.parametrize(
    "maker",
    makers(EMBEDDERS, is_ours),
    ids=str,
)
def test_every_framework_hands_them_out(  # noqa: PLR0913 - fixtures
    maker: Maker,
    engine: str,
    url: str,
    texts: list[str],
    dimensions: int | None,
    record: Any,
) -> None:
    """The core and each framework's class, by methods and by coroutines."""
    values = {**COMMON, "dimensions": dimensions}
    face = Face(maker.subject(**values, server=engine, base_url=url), maker.asynchronous)
    here = local(dimensions=dimensions)
    documents, questions = texts[::14], material.QUESTIONS[:20]
    found = min(
        cosine(face.documents(documents), here.embed_documents(documents)),
        cosine(face.queries(questions), here.embed_queries(questions)),
    )
    record(f"through {maker}, dimensions={dimensions or 'all'}", f"cosine {found:.8f}")
    assert found >= NEAR
    assert np.isfinite(found)
    face.close()
    here.close()


@pytest.mark.parametrize("local", [str(TINY / "embedder"), None], ids=["with a copy", "alone"])
def test_the_doctor_finds_nothing_wrong(
    engine: str, url: str, local: str | None, record: Any
) -> None:
    """On a server that is started rightly every check passes."""
    settings = EmbedderSettings(**COMMON, server=engine, base_url=url)
    report = examine(settings, local=local)
    for each in report.findings:
        record(
            f"doctor, embedder, {'with a copy' if local else 'alone'}",
            f"{each.status} {each.check}: {each.measured}",
        )
    assert report.ok, report.to_json()
