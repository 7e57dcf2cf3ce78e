"""The command line: tables, files, exit status, and nothing but results where it is piped."""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from qwen_retrieval.cli import main
from qwen_retrieval.errors import SettingsError
from qwen_retrieval.testing import doubles

Run = Callable[..., tuple[int | str, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Run a command over the doubles; return status (or last words), output and error output."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "200")

    def run_(*words: object) -> tuple[int | str, str, str]:
        monkeypatch.setattr(sys, "argv", ["qwen-retrieval", *map(str, words)])
        with doubles(), pytest.raises(SystemExit) as left:
            main()
        out, err = capsys.readouterr()
        code = left.value.code
        return 0 if code is None else code, out, err

    return run_


def test_a_table_is_printed_and_nothing_else(run: Run, folder: Path, tmp_path: Path) -> None:
    """Three ways of ranking with intervals; error output is quiet where nobody watches."""
    code, out, err = run("evaluate", folder, "--dimensions", "256,64", "--depth", 3)
    assert (code, err) == (0, "")
    assert "fruit: 6 documents, 3 queries, 1 without a relevant document left out" in out
    for name in ("BM25", "Qwen3-Embedding-0.6B, 256 dimensions", "64 dimensions", "of 3"):
        assert name in out
    assert "p = " in out
    assert list((tmp_path / "cache" / "qwen-retrieval" / "evaluation").iterdir())


def test_json_is_whole_and_files_are_written(run: Run, folder: Path, tmp_path: Path) -> None:
    """What is printed is JSON alone, the same as in the file; Markdown goes by the name's end."""
    names = ("report.json", "report.md")
    outs = [word for name in names for word in ("--out", tmp_path / name)]
    code, out, err = run("evaluate", folder, folder, "--json", *outs, "--queries", 2)
    found = json.loads(out)
    assert (code, err, found["format"]) == (0, "", 1)
    assert (tmp_path / "report.json").read_text(encoding="utf-8") == out
    first, second = found["reports"]
    assert [run["kind"] for run in first["runs"]] == ["bm25", "embedding", "reranking"]
    assert (first["left_out"], first["not_drawn"], len(first["queries"])) == (1, 1, 2)
    for each in first["runs"]:
        values = each["per_query"]["nDCG@10"]
        assert len(values) == 2
        assert each["estimates"]["nDCG@10"]["mean"] == pytest.approx(sum(values) / 2)
    assert [r["estimates"] for r in first["runs"]] == [r["estimates"] for r in second["runs"]]
    assert (tmp_path / "report.md").read_text(encoding="utf-8").count("| BM25 |") == 2


def test_stages_can_be_left_out(run: Run, folder: Path) -> None:
    """BM25 with reranking, or embedding alone; nothing at all is refused."""
    _, out, _ = run("evaluate", folder, "--embedder", "none", "--json")
    assert [each["kind"] for each in json.loads(out)["reports"][0]["runs"]] == ["bm25", "reranking"]
    _, out, _ = run("evaluate", folder, "--no-bm25", "--reranker", "none", "--json")
    assert [each["kind"] for each in json.loads(out)["reports"][0]["runs"]] == ["embedding"]
    code, _, _ = run("evaluate", folder, "--no-bm25", "--embedder", "none")
    assert code == "Error: there is nothing to rank by; give an embedder, or leave bm25 on."


def test_options_reach_the_settings(run: Run, folder: Path) -> None:
    """A preset's words, numbers, and plain texts."""
    _, out, _ = run(
        "evaluate", folder, "--json", "--instruction", "scifact",
        "--embedder-option", "max_length=100", "--embedder-option", "dtype=float16",
        "--reranker-option", "score_type=logit",
    )  # fmt: skip
    _, embedding, reranking = json.loads(out)["reports"][0]["runs"]
    words = "Given a scientific claim, retrieve documents that support or refute the claim"
    assert (
        embedding["settings"]["query_instruction"] == reranking["settings"]["instruction"] == words
    )
    assert embedding["settings"]["max_length"] == 100
    assert embedding["settings"]["dtype"] == "float16"
    assert reranking["settings"]["score_type"] == "logit"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--dimensions", "a"], "Error: dimensions is 'a'; give whole numbers separated by commas"),
        (["--dimensions", "512"], "Error: dimensions is 512, but Qwen/Qwen3-Embedding-0.6B gives"),
        (["--instruction", "scifcat"], "Error: there is no preset 'scifcat'"),
        (["--embedder-option", "x"], "Error: the option 'x' has no '='; give name=value."),
        (["--embedder-option", "x=1"], "Error: unknown settings ['x']; known are"),
        (["--language", "tlh"], "Error: language is 'tlh'; choose one of"),
        (["--out", "x.pdf"], "Error: x.pdf ends with '.pdf'; give a .json or .md file."),
        (["--split", "dev"], "has no judgements qrels/dev.tsv; there are qrels.tsv alone."),
    ],
)
def test_an_error_is_a_sentence(run: Run, folder: Path, words: list[str], sentence: str) -> None:
    """It ends the program with status 1, which is what `sys.exit` makes of a text."""
    code, out, _ = run("evaluate", folder, *words)
    assert isinstance(code, str)
    assert sentence in code
    assert out == ""


def test_a_broken_file_ends_with_its_line(run: Run, folder: Path) -> None:
    """And no report is written."""
    (folder / "corpus.jsonl").write_bytes(b"{\n")
    code, out, _ = run("evaluate", folder)
    assert "corpus.jsonl, line 1: not JSON" in str(code)
    assert out == ""


def test_what_the_system_refuses_is_a_sentence(run: Run, folder: Path, tmp_path: Path) -> None:
    """A folder that cannot be made, for reports or for the store."""
    file = tmp_path / "file"
    file.touch()
    code, _, _ = run("evaluate", folder, "--out", file / "report.md")
    assert str(code).endswith(
        f"report.md cannot be written: {file} is no folder; give another file."
    )
    code, _, _ = run("evaluate", folder, "--store", file / "store")
    assert str(code).startswith(f"Error: {file / 'store'}")


@pytest.mark.parametrize("command", ["evaluate", "compare"])
def test_what_cannot_be_written_is_refused_first(run: Run, tmp_path: Path, command: str) -> None:
    """Before the data are read, let alone computed with; and nothing is left behind."""
    there = tmp_path / "there.MD"
    there.mkdir()
    code, _, _ = run(command, tmp_path / "missing", "--out", there)
    assert code == f"Error: {there} cannot be written: it is a folder; give another file."
    file = tmp_path / "file"
    file.touch()
    code, _, _ = run(command, tmp_path / "missing", "--out", file / "a" / "b.json")
    assert f"b.json cannot be written: {file} is no folder" in str(code)
    code, _, _ = run(command, tmp_path / "missing", "--out", tmp_path / "new" / "c.md")
    assert "missing" in str(code)
    assert not (tmp_path / "new").exists()


def test_all_sources_are_read_before_the_first_is_computed(
    run: Run, folder: Path, tmp_path: Path
) -> None:
    """A missing one is noticed at once; nothing is printed or kept."""
    code, out, _ = run("evaluate", folder, tmp_path / "missing.csv", "--store", tmp_path / "store")
    assert "missing.csv does not exist" in str(code)
    assert out == ""
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("between", ["1", "a,b", "0,1", "1,2,3"])
def test_settings_to_set_side_by_side_are_read_before_the_sweep(
    run: Run, folder: Path, tmp_path: Path, between: str
) -> None:
    """Nothing is computed for what cannot be meant."""
    code, _, _ = run("compare", folder, "--between", between, "--store", tmp_path / "store")
    assert str(code).startswith(f"Error: between is {between!r}; give ")
    assert not (tmp_path / "store").exists()


def test_a_warning_is_a_sentence(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a file of the library's and a line of it."""
    shown = []

    def warned(*_: object, **__: object) -> None:
        shown.append(warnings.formatwarning(UserWarning("3 texts were cut"), UserWarning, "f", 1))
        raise SettingsError("that is all.")

    monkeypatch.setattr("qwen_retrieval.evaluation.flow.Stages.bm25", warned)
    run("evaluate", folder)
    assert shown == ["Warning: 3 texts were cut\n"]
    assert "Warning: " not in warnings.formatwarning(UserWarning("x"), UserWarning, "f", 1)[:9]


def test_usage_errors_have_status_two(run: Run) -> None:
    """As everywhere."""
    assert run("evaluate")[0] == 2
    assert run("evaluate", "x", "--depth", "0")[0] == 2


def test_instructions_are_listed(run: Run) -> None:
    """As a table, as JSON, or one alone for use in a shell."""
    code, out, _ = run("instructions")
    assert code == 0
    assert "SciFact" in out
    assert len(json.loads(run("instructions", "--json")[1])) == 32
    text = "Given a scientific claim, retrieve documents that support or refute the claim\n"
    assert run("instructions", "scifact")[1] == text
    assert "did you mean SciFact" in str(run("instructions", "scifct")[0])


@pytest.mark.parametrize("columns", [None, 80])
def test_settings_stay_readable(
    run: Run, folder: Path, columns: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a pipe nothing is cut; on a narrow terminal a setting stands in one column."""
    if columns is None:
        monkeypatch.delenv("COLUMNS")
    else:
        monkeypatch.setenv("COLUMNS", str(columns))
    code, out, _ = run("compare", folder, "--dimensions", "64", "--precision", "float32,int8")
    assert code == 0
    assert "…" not in out
    head = "bytes a document" if columns is None else "embedder,"
    assert head in out
