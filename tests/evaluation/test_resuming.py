"""A run that was killed goes on where it was, and ends as if nothing had happened.

``QWEN_RETRIEVAL_KILLS`` says how many kills the tiny models' run has to survive.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small import small_collection

from qwen_retrieval import EmbedderSettings, RerankerSettings
from qwen_retrieval.errors import StoreError
from qwen_retrieval.evaluation import Collection, evaluate
from qwen_retrieval.evaluation.folders import FolderWriter
from qwen_retrieval.evaluation.setting import short
from qwen_retrieval.evaluation.stages import Stages, essence
from qwen_retrieval.evaluation.store import Store
from qwen_retrieval.settings import COMPUTING
from qwen_retrieval.testing import doubles

PROGRAM = Path(__file__).with_name("killed.py")
TINY = Path(__file__).parents[1] / "tiny"
MODELS = {
    "doubles": (("double", "double"), 6),
    "tiny": (
        (str(TINY / "embedder"), str(TINY / "reranker")),
        int(os.environ.get("QWEN_RETRIEVAL_KILLS", "2")),
    ),
}


def without_timings(path: Path) -> Any:
    """Return a report without what a clock measured."""
    whole = json.loads(path.read_text(encoding="utf-8"))
    for report in whole["reports"]:
        for run in report["runs"]:
            assert run.pop("seconds") is not None
    return whole


def calls(log: Path) -> list[list[str]]:
    """Return the texts of each call that a model got."""
    lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
    return [line.rstrip("\t").split("\t") for line in lines if line]  # loading gives no text


@pytest.fixture(scope="module")
def small_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small collection on disk."""
    folder = tmp_path_factory.mktemp("small") / "small"
    collection = small_collection().sampled(12)
    with FolderWriter(folder) as writer:
        for place, text in enumerate(collection.documents.texts(range(80))):
            writer.document(f"d{place}", f"{place} {text[:200]}")
        for place, query in enumerate(collection.queries):
            writer.query(f"q{place}", query)
            writer.judgement(f"q{place}", f"d{place}", 1)
    return folder


@pytest.mark.parametrize("models", MODELS)
def test_killed_at_random_moments_it_ends_the_same(
    models: str, small_folder: Path, tmp_path: Path
) -> None:
    """The report is equal but for timings, and only calls in flight were made twice."""
    names, kills = MODELS[models]

    def start(run: str) -> subprocess.Popen[bytes]:
        places = [tmp_path / run / name for name in ("store", "log", "report.json")]
        places[0].parent.mkdir(exist_ok=True)
        return subprocess.Popen(
            [sys.executable, str(PROGRAM), str(small_folder), *map(str, places), *names],
            stderr=subprocess.DEVNULL,
        )

    assert start("whole").wait(timeout=300) == 0
    whole = calls(tmp_path / "whole" / "log")
    texts = Counter(text for call in whole for text in call)
    assert set(texts.values()) == {1}, "even undisturbed, a text is given twice"

    random_ = random.Random(models)
    log, report = tmp_path / "killed" / "log", tmp_path / "killed" / "report.json"
    in_flight = 0
    for left in range(kills, 0, -1):
        process = start("killed")
        done = len(calls(log))
        # A random number of calls on, but not so many that the later kills find nothing to do.
        aim = done + random_.randint(0, max(1, 2 * (len(whole) - done) // (left + 1)))
        while process.poll() is None and len(calls(log)) < aim:
            time.sleep(0.002)
        time.sleep(random_.uniform(0, 0.01))
        process.kill()
        if process.wait() != 0:
            in_flight += 1
    assert in_flight >= kills / 2, "most runs ended before they were killed"
    assert start("killed").wait(timeout=300) == 0

    assert without_timings(report) == without_timings(tmp_path / "whole" / "report.json")
    given = calls(log)
    again = Counter(text for call in given for text in call)
    assert set(again) == set(texts)
    repeated = len(given) - len({tuple(call) for call in given})
    assert repeated <= in_flight, "more calls were repeated than kills can explain"
    twice = sum(times - 1 for times in again.values())
    assert twice <= sum(sorted((len(call) for call in whole), reverse=True)[:in_flight])


@pytest.fixture
def collection() -> Collection:
    """A small collection in memory."""
    return small_collection()


def test_a_finished_run_computes_nothing_again(collection: Collection, tmp_path: Path) -> None:
    """Not a text is embedded and not a pair scored, whatever widths are asked for."""
    embedder, reranker = EmbedderSettings(model="double"), RerankerSettings(model="double")
    with doubles():
        evaluate(collection, embedder=embedder, reranker=reranker, depth=5, store=tmp_path)
    stages = Stages(collection, Store(tmp_path))
    # Outside of `doubles`: a model that is opened would not be found.
    ranking = stages.search(embedder, 100)
    stages.rerank(ranking, reranker, 5)
    stages.search(EmbedderSettings(model="double", dimensions=32), 100)
    assert (stages.embedded_texts, stages.scored_pairs) == (0, 0)


def test_another_instruction_embeds_the_queries_alone(
    collection: Collection, tmp_path: Path
) -> None:
    """Documents carry no instruction; a width is cut; another model is another matter."""
    with doubles():
        stages = Stages(collection, Store(tmp_path))
        documents, queries = len(collection.documents), len(collection.queries)
        counts = []
        for settings in (
            EmbedderSettings(model="double"),
            EmbedderSettings(model="double", dimensions=16),
            EmbedderSettings(model="double", query_instruction="Find cats"),
            EmbedderSettings(model="double", batch_size=3),
            EmbedderSettings(model="other"),
        ):
            stages.search(settings, 10)
            counts.append(stages.embedded_texts)
    first = documents + queries
    assert counts == [first, first, first + queries, first + queries, 2 * first + queries]


def test_how_a_server_is_reached_does_not_matter(collection: Collection, tmp_path: Path) -> None:
    """Patience, retries, concurrency and certificates change no vector and no score."""
    reached = {"timeout": 5.0, "max_retries": 0, "max_concurrency": 1, "verify_tls": False,
               "check_server": True}  # fmt: skip
    with doubles():
        stages = Stages(collection, Store(tmp_path))
        for options in ({}, reached):
            ranking = stages.search(EmbedderSettings(model="double", **options), 10)
            stages.rerank(ranking, RerankerSettings(model="double", **options), 3)
    assert stages.embedded_texts == len(collection.documents) + len(collection.queries)
    assert stages.scored_pairs == 3 * len(collection.queries)


def test_a_retrained_model_in_the_home_folder_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The files behind ``~/model`` count, and it is called as any folder is."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "models" / "mine").mkdir(parents=True)
    weights = tmp_path / "models" / "mine" / "weights"
    weights.write_bytes(b"first")
    before = essence(EmbedderSettings(model="~/models/mine"))
    weights.write_bytes(b"second")
    assert essence(EmbedderSettings(model="~/models/mine")) != before
    assert short("~/models/mine") == "models/mine"


def test_what_another_release_computed_is_not_read(
    collection: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A release that changes how texts are computed counts a number up, and begins anew."""
    with doubles():
        computed = []
        for number in (COMPUTING, COMPUTING, COMPUTING + 1):
            monkeypatch.setattr("qwen_retrieval.evaluation.stages.COMPUTING", number)
            stages = Stages(collection, Store(tmp_path))
            stages.embed_queries(EmbedderSettings(model="double"))
            computed.append(stages.embedded_texts)
    queries = len(collection.queries)
    assert computed == [queries, 0, queries]


def test_a_deeper_rerank_scores_the_new_pairs_alone(collection: Collection, tmp_path: Path) -> None:
    """What is known of a pair is not asked again; equal scores keep the candidates' order."""
    settings = RerankerSettings(model="double")
    with doubles():
        stages = Stages(collection, Store(tmp_path))
        ranking = stages.bm25(100)
        shallow = stages.rerank(ranking, settings, 3)
        assert stages.scored_pairs == (ranking.places[:, :3] >= 0).sum()
        deep = stages.rerank(ranking, settings, 9)
        assert stages.scored_pairs == (ranking.places[:, :9] >= 0).sum()
    for row, before, values in zip(
        deep.ranking.places, ranking.places[:, :9], deep.ranking.scores, strict=True
    ):
        assert sorted(row) == sorted(before)
        assert (np.diff(values[row >= 0]) <= 0).all()
        was = {place: n for n, place in enumerate(before)}
        ties = [(v, was[p]) for v, p in zip(-values, row, strict=True) if p >= 0]
        assert ties == sorted(ties)
    assert shallow.ranking.places.shape[1] == 3


def test_two_processes_do_not_write_the_same(collection: Collection, tmp_path: Path) -> None:
    """The second is told, before it computes anything."""
    store = Store(tmp_path)
    with (
        store.ledger({"a": 1}, np.float32),
        pytest.raises(StoreError, match=r"another process .* wait for it, or choose"),
        Store(tmp_path).ledger({"a": 1}, np.float32),
    ):
        pass
    with store.ledger({"a": 1}, np.float32) as ledger:
        ledger.append(np.ones((2, 3), np.float32), seconds=1.0)
    with store.ledger({"a": 1}, np.float32) as ledger:
        assert ledger.read().tolist() == [[1, 1, 1], [1, 1, 1]]


@pytest.mark.parametrize("cut", [0, 5, 30])
def test_what_a_kill_leaves_half_written_is_cut_off(tmp_path: Path, cut: int) -> None:
    """Rows without a line, and a line without its end, do not count."""
    store = Store(tmp_path)
    with store.ledger({}, np.float32) as ledger:
        ledger.append(np.ones((2, 3), np.float32))
    (folder,) = (path for path in tmp_path.iterdir() if path.is_dir())
    with (folder / "rows").open("ab") as file:
        file.write(b"\x01" * 7)
    with (folder / "journal.jsonl").open("ab") as file:
        file.write(b'{"rows": 9, "width": 3, "seconds": 1.0}'[:cut])
    with store.ledger({}, np.float32) as ledger:
        assert ledger.rows == 2
        ledger.append(np.full((1, 3), 2, np.float32))
    with store.ledger({}, np.float32) as ledger:
        assert ledger.read().tolist() == [[1, 1, 1], [1, 1, 1], [2, 2, 2]]


def lose(path: Path) -> None:
    """Cut the end off."""
    os.truncate(path, path.stat().st_size - 4)


def blank(path: Path) -> None:
    """Leave zeros where the last rows were, as a file system may after a loss of power."""
    raw = path.read_bytes()
    path.write_bytes(raw[:-8] + bytes(8))


@pytest.mark.parametrize("damage", [lose, blank])
def test_what_the_disk_lost_is_computed_again(tmp_path: Path, damage: Any) -> None:
    """Rows that are not as the journal says count as not there, and so does what follows."""
    store = Store(tmp_path)
    with store.ledger({}, np.float32) as ledger:
        for value in (1, 2, 3):
            ledger.append(np.full((2, 3), value, np.float32))
    (folder,) = (path for path in tmp_path.iterdir() if path.is_dir())
    damage(folder / "rows")
    with store.ledger({}, np.float32) as ledger:
        assert ledger.rows == 4
        ledger.append(np.full((2, 3), 4, np.float32))
    with store.ledger({}, np.float32) as ledger:
        assert ledger.read()[:, 0].tolist() == [1, 1, 2, 2, 4, 4]


@pytest.mark.parametrize("line", [b"\0\0\0\0", b'{"rows": 2, "width": 3}', b"7", b'{"rows": "a"}'])
def test_a_damaged_line_of_the_journal_ends_what_counts(tmp_path: Path, line: bytes) -> None:
    """No traceback: the block that it spoke of, and what follows, is computed again."""
    store = Store(tmp_path)
    with store.ledger({}, np.float32) as ledger:
        for value in (1, 2, 3):
            ledger.append(np.full((2, 3), value, np.float32))
    (folder,) = (path for path in tmp_path.iterdir() if path.is_dir())
    journal = folder / "journal.jsonl"
    first, _, third = journal.read_bytes().splitlines()
    journal.write_bytes(b"\n".join([first, line, third, b""]))
    with store.ledger({}, np.float32) as ledger:
        assert ledger.read().tolist() == [[1, 1, 1]] * 2
