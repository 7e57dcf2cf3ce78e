"""A real server's scores are the local ones, through the core and every framework."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from contract.faces import RERANKERS, Face, Maker, makers
from engines import material
from engines.choices import is_ours
from engines.starting import CONTEXT, TINY
from qwen_retrieval import RerankerSettings, open_reranker
from qwen_retrieval.doctor import examine
from qwen_retrieval.errors import ServerUnsupportedError
from qwen_retrieval.servers.engines import RERANK

NEAR = 1e-4
COMMON = {"model": str(TINY / "reranker"), "max_length": CONTEXT, "timeout": 900.0}
"""Not how fast it is, which depends on what else the machine does, but what it answers."""

pytestmark = pytest.mark.filterwarnings("ignore::qwen_retrieval.errors.TruncationWarning")


@pytest.fixture(scope="module")
def url(serve: Any, engine: str) -> Iterator[str]:
    """The server's address."""
    if engine not in RERANK:
        pytest.skip(f"{engine} reranks without the prompt, so the library refuses it")
    with serve("reranker") as address:
        yield address


@pytest.fixture(scope="module")
def pairs(engine: str) -> list[tuple[str, str]]:
    """Real questions with documents of every sort that the interface lets through unchanged."""
    documents = [*material.every(270), *material.ODD]
    if RERANK[engine].takes_ids:
        documents += [*material.PADDED, *material.CONTROL]
    found = [(question, each) for question in material.QUESTIONS[:18] for each in documents]
    return found + [(material.QUESTIONS[0], each) for each in material.LONG]


def local() -> Any:
    """Return the model in this process."""
    return open_reranker(RerankerSettings(**COMMON, dtype="float32", device="cpu"))


def instructions(engine: str) -> list[str | None]:
    """Return the default one, and one of our own where the engine lets it through."""
    return [None, material.INSTRUCTION] if RERANK[engine].takes_instruction else [None]


def test_scores_are_the_local_ones(
    engine: str, url: str, pairs: list[tuple[str, str]], record: Any
) -> None:
    """At least 500 pairs, long documents among them, with each instruction."""
    assert len(pairs) >= 500
    there = open_reranker(RerankerSettings(**COMMON, server=engine, base_url=url))
    here = local()
    for task in instructions(engine):
        found = there.score(pairs, instruction=task)
        difference = float(np.abs(found - here.score(pairs, instruction=task)).max())
        record(
            "largest difference of a score to local,"
            f" {'default' if task is None else 'custom'} instruction",
            f"{difference:.1e} ({len(pairs)} pairs, scores {found.min():.3f} to {found.max():.3f},"
            f" the longest document {max(len(d) for _, d in pairs):,} characters)",
        )
        assert difference <= NEAR
    there.close()
    here.close()


def test_an_instruction_that_would_be_ignored_is_refused(engine: str, url: str) -> None:
    """Where the template lies in the model's file, another instruction raises."""
    if RERANK[engine].takes_instruction:
        return
    there = open_reranker(RerankerSettings(**COMMON, server=engine, base_url=url))
    with pytest.raises(ServerUnsupportedError, match="instruction"):
        there.score([("a", "b")], instruction=material.INSTRUCTION)
    there.close()


@pytest.mark.parametrize(
    "maker",
    makers(RERANKERS, is_ours),
    ids=str,
)
def test_every_framework_hands_them_out(maker: Maker, engine: str, url: str, record: Any) -> None:
    """The core and each framework's class, by methods and by coroutines."""
    here = local()
    documents, question = material.every(150), material.QUESTIONS[1]
    largest = 0.0
    for task in instructions(engine):
        values = {**COMMON, "server": engine, "base_url": url}
        face = Face(maker.subject(**values, instruction=task), maker.asynchronous)
        found = face.scores(question, documents)
        wanted = here.score([(question, each) for each in documents], instruction=task)
        largest = max(largest, float(np.abs(np.asarray(found) - wanted).max()))
        face.close()
    record(f"through {maker}", f"largest difference {largest:.1e}")
    assert largest <= NEAR
    here.close()


@pytest.mark.parametrize("local", [str(TINY / "reranker"), None], ids=["with a copy", "alone"])
def test_the_doctor_finds_nothing_wrong(
    engine: str, url: str, local: str | None, record: Any
) -> None:
    """On a server that is started rightly every check passes."""
    settings = RerankerSettings(**COMMON, server=engine, base_url=url)
    report = examine(settings, local=local)
    for each in report.findings:
        record(
            f"doctor, reranker, {'with a copy' if local else 'alone'}",
            f"{each.status} {each.check}: {each.measured}",
        )
    assert report.ok, report.to_json()
