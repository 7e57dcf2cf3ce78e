"""The page of a comparison: whole, harmless, and without a network."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from qwen_retrieval.cli.app import app
from qwen_retrieval.evaluation import Collection
from qwen_retrieval.evaluation.compare import compare
from qwen_retrieval.evaluation.comparison import Comparison
from qwen_retrieval.evaluation.comparison_text import to_markdown
from qwen_retrieval.evaluation.page import to_html
from qwen_retrieval.evaluation.setting import Grid
from qwen_retrieval.evaluation.slices import slices
from qwen_retrieval.evaluation.stages import Stages
from qwen_retrieval.evaluation.store import Store
from qwen_retrieval.settings import EmbedderSettings, RerankerSettings
from qwen_retrieval.testing import doubles

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)> {{ 7 * 7 }} **b** | c"
INSTRUCTION = "find <b>it</b></script><script>alert(3)</script> & be quick"


class Tags(HTMLParser):
    """Collects tags and text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self._in_script = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag."""
        self.tags.append((tag, dict(attrs)))
        self._in_script = tag in {"script", "style"}

    def handle_endtag(self, tag: str) -> None:
        """Leave a script."""
        self._in_script = False

    def handle_data(self, data: str) -> None:
        """Note what a reader sees."""
        if not self._in_script:
            self.text.append(data)


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    """A small sweep in which ids, texts, names and an instruction are hostile."""
    collection = Collection.of(
        {f"d{n} {HOSTILE}": f"document {n} of apples {HOSTILE}" for n in range(6)},
        {f"q{n} {HOSTILE}": f"apples {n} {HOSTILE}" for n in range(4)},
        {f"q{n} {HOSTILE}": {f"d{n} {HOSTILE}": 1} for n in range(4)},
        name=f"shop {HOSTILE}",
    )
    with doubles():
        return compare(
            Stages(collection, Store(tmp_path_factory.mktemp("store"))),
            [EmbedderSettings(model=f"org/{HOSTILE}")],
            [RerankerSettings(model=f"org/judge {HOSTILE}")],
            Grid(dimensions=(32, 64), depths=(0, 3), instructions=("default", INSTRUCTION)),
            resamples=200,
        )


@pytest.fixture(scope="module")
def page(comparison: Comparison) -> Tags:
    """Its page."""
    return Tags(to_html(comparison, comparison.recommend()))


def test_texts_are_shown_not_run(page: Tags) -> None:
    """Whatever a collection holds is text: no tag, no script, no template comes of it."""
    tags = [tag for tag, _ in page.tags]
    assert "img" not in tags
    assert "alert" not in "".join(tag for tag, _ in page.tags)
    inert = Tags(to_html_of_harmless())
    assert tags.count("script") == [tag for tag, _ in inert.tags].count("script")
    seen = "".join(page.text)
    assert HOSTILE in seen
    assert INSTRUCTION in seen


def to_html_of_harmless() -> str:
    """The page of a sweep like the other over harmless texts."""
    collection = Collection.of(
        {f"d{n}": f"document {n} of apples" for n in range(6)},
        {f"q{n}": f"apples {n}" for n in range(4)},
        {f"q{n}": {f"d{n}": 1} for n in range(4)},
    )
    from tempfile import TemporaryDirectory

    with doubles(), TemporaryDirectory() as folder:
        found = compare(
            Stages(collection, Store(Path(folder))),
            [EmbedderSettings(model="org/m")],
            grid=Grid(dimensions=(64,), depths=(0,)),
            resamples=50,
        )
        return to_html(found, found.recommend())


def test_nothing_is_fetched(page: Tags) -> None:
    """No tag names a source elsewhere: scripts and styles lie in the file."""
    for tag, attributes in page.tags:
        assert not {"src", "href", "srcset", "data"} & attributes.keys(), (tag, attributes)


def test_everything_is_on_it(page: Tags, comparison: Comparison) -> None:
    """The advice, a row for each setting, what was computed, and the examples."""
    seen = " ".join("".join(page.text).split())
    assert f"Take {comparison.settings[comparison.recommend().best]}" in seen
    rows = sum(tag == "tr" for tag, _ in page.tags)
    assert rows >= len(comparison.settings) + len(comparison.work)
    assert "Its greatest gains" in seen
    assert sum("plotly" in (a.get("class") or "") for _, a in page.tags) == 3


def test_two_settings_of_ones_own(comparison: Comparison) -> None:
    """Any two can be set side by side."""
    seen = "".join(Tags(to_html(comparison, comparison.recommend(), 1, 2)).text)
    assert f"Between {comparison.settings[1]}" in seen


def test_markdown_keeps_its_tables(comparison: Comparison) -> None:
    """Marks in names are escaped, so that each row has as many cells as the head."""
    text = to_markdown(comparison, comparison.recommend())
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    cells = {line.replace("\\|", "").count("|") for line in rows}
    assert cells == {8, 14}
    assert "<script>" not in text.replace("\\<", "")


def test_slices_part_the_queries() -> None:
    """Thirds by length hold every query once; languages with few queries are put together."""
    lengths = {f"q{n}": "apple " * (n % 30 + 1) for n in range(90)}
    german = {
        f"g{n}": f"Welche Äpfel schmecken am besten im Herbst, Nummer {n}?" for n in range(20)
    }
    queries = lengths | german
    collection = Collection.of({"d": "apples"}, queries, {name: {"d": 1} for name in queries})
    found = slices(collection)
    by_length = [each.queries for each in found if each.by == "length of the query"]
    assert sorted(np.concatenate(by_length).tolist()) == list(range(110))
    assert all(len(each) > 20 for each in by_length)
    languages = {each.name: each.queries for each in found if each.by == "language of the query"}
    assert languages["de"].tolist() == list(range(90, 110))
    assert not [each for each in found if each.by == "length of the answer"]


def test_command_writes_all_three_and_says_what_to_take(folder: Path, tmp_path: Path) -> None:
    """Page, Markdown and JSON, and the advice on the terminal; a second run computes nothing."""
    out = [tmp_path / name for name in ("page.html", "page.md", "page.json")]
    options = [part for path in out for part in ("--out", str(path))]
    options += ["--embedder", "one", "--reranker", "judge", "--dimensions", "32,64"]
    options += ["--depth", "0,2", "--store", str(tmp_path / "store"), "--max-bytes", "64"]
    with doubles():
        done = CliRunner().invoke(app, ["compare", str(folder), *options], env={"COLUMNS": "200"})
        again = CliRunner().invoke(app, ["compare", str(folder), *options, "--json"])
    assert done.exit_code == 0, done.output
    assert "Take one, " in done.output
    assert "keep to the budget (bytes per document ≤ 64)" in done.output
    found = json.loads(out[2].read_text(encoding="utf-8"))
    assert len(found["settings"]) == 2 * 2 * 3 * 2
    assert found["recommendation"]["budget"]["bytes_per_document"] == 64
    assert out[1].read_text(encoding="utf-8").startswith("# fruit: 24 settings compared")
    assert "<h1>fruit: 24 settings compared</h1>" in out[0].read_text(encoding="utf-8")
    repeated = json.loads(again.stdout)
    assert {each["computed_now"] for each in repeated["work"]} == {0}
    assert repeated["recommendation"] == found["recommendation"]


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (["--out", "page.pdf"], r"give a .html, .json or .md file"),
        (["--depth", "ten"], "depth is 'ten'"),
        (["--between", "1,99"], "between is '1,99'"),
        (["--max-bytes", "1"], "no setting keeps to the budget"),
        (["--max-tokens", "1"], "no tokens can be counted"),
        (["--precision", "int4"], "precision is 'int4'"),
    ],
)
def test_command_refuses_by_name(
    folder: Path, tmp_path: Path, options: list[str], match: str
) -> None:
    """What cannot be meant ends with a sentence that names it."""
    known = ["compare", str(folder), "--embedder", "one", "--store", str(tmp_path), *options]
    with doubles():
        done = CliRunner().invoke(app, known)
    assert done.exit_code != 0
    assert match in str(done.exception)
