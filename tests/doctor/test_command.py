"""The command line: a table or JSON, the mend, and the exit status."""

from __future__ import annotations

import json
from typing import Any

import jinja2
import pytest
from typer.testing import CliRunner, Result

from qwen_retrieval import prompts
from qwen_retrieval.cli.app import app
from qwen_retrieval.cli.doctor import template
from servers.fault_server import FaultServer

from .conftest import TINY


def run(*options: str) -> Result:
    """Return what the command prints, on a wide terminal."""
    return CliRunner(env={"COLUMNS": "200"}).invoke(app, ["doctor", *options])


def serving(server: FaultServer, kind: str, *options: str) -> Result:
    """Return what it prints of a server."""
    where = ["--server", server.engine.name, "--base-url", server.url]
    return run(str(TINY / kind), *where, *options)


def test_a_right_server_prints_a_table_and_ends_with_0() -> None:
    """Every check has its row."""
    with FaultServer("tei", max_length=512) as server:
        result = serving(server, "embedder")
    assert result.exit_code == 0, result.output
    for words in ("Text Embeddings Inference 1.9.0", "unit norm", "texts/s", "nothing failed"):
        assert words in result.output


def test_a_wrong_server_names_the_mend_and_ends_with_1() -> None:
    """The kind is told from the model's files."""
    with FaultServer("vllm", serves="reranker", template="none", max_length=512) as server:
        result = serving(server, "reranker", "--quick")
    assert result.exit_code == 1
    assert "✗ FAIL" in result.output
    assert "→ start the server with --chat-template qwen3_reranker.jinja" in result.output


def test_json_is_one_object() -> None:
    """It holds what the table holds."""
    with FaultServer("vllm", end=False, max_length=512) as server:
        result = serving(server, "embedder", "--quick", "--json")
    report: dict[str, Any] = json.loads(result.stdout)
    assert result.exit_code == 1
    assert report["ok"] is False
    failed = [each for each in report["findings"] if each["status"] == "fail"]
    assert [each["check"] for each in failed] == ["EOS"]
    assert "--tokenizer" in failed[0]["mend"]


def test_a_server_that_is_not_there_fails_the_first_check() -> None:
    """All others are left unjudged."""
    result = run(
        str(TINY / "embedder"), "--server", "vllm", "--base-url", "http://127.0.0.1:9", "--json"
    )
    report = json.loads(result.stdout)
    statuses = {each["check"]: each["status"] for each in report["findings"]}
    assert statuses.pop("reachable") == "fail"
    assert set(statuses.values()) == {"skip"}


@pytest.mark.parametrize("kind", ["embedder", "reranker"])
def test_a_model_in_this_process_is_examined_too(kind: str) -> None:
    """It is compared with transformers' own computation of its files."""
    result = run(str(TINY / kind), "--quick")
    assert result.exit_code == 0, result.output
    assert "transformers' own computation" in result.output


def test_the_template_renders_the_official_prompt() -> None:
    """As vLLM renders it, with its default instruction and with one of the request."""
    assert run("--print-template").stdout == template()
    made = jinja2.Environment(trim_blocks=True, lstrip_blocks=True).from_string(template())  # noqa: S701 - no HTML
    messages = [{"role": "query", "content": " q{{ 1 }}"}, {"role": "document", "content": "d\n"}]
    for instruction in (None, "Find it"):
        given = {} if instruction is None else {"instruction": instruction}
        head = prompts.reranker_head(" q{{ 1 }}", instruction)
        wanted = f"{prompts.RERANKER_PREFIX}{head}d\n{prompts.RERANKER_SUFFIX}"
        assert made.render(messages=messages, **given) == wanted


def test_an_unknown_kind_is_refused() -> None:
    """By name, with what there is."""
    result = run("--kind", "neither")
    assert result.exit_code == 2
    assert "embedder or reranker" in result.output
