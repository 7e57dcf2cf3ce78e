"""Every code block of README, CONTRIBUTING and docs: Python runs, commands name what exists."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))

from needs import need

ROOT = Path(__file__).parents[1]
TINY = ROOT / "tests" / "tiny"
RUNNER = Path(__file__).with_name("run_document.py")
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    *sorted(path for path in (ROOT / "docs").rglob("*.md") if "_build" not in path.parts),
]
NAMES = [page.relative_to(ROOT).as_posix() for page in PAGES]

FENCE = re.compile(r"^```(?P<language>[^\n`]*)\n(?P<source>.*?)^```$", re.MULTILINE | re.DOTALL)
STANDS_FOR = {"Qwen/Qwen3-Embedding-0.6B": "embedder", "Qwen/Qwen3-Reranker-0.6B": "reranker"}


def blocks(page: Path, language: str) -> list[str]:
    """Return the fenced blocks of this language."""
    found = FENCE.finditer(page.read_text(encoding="utf-8"))
    return [match["source"] for match in found if match["language"] == language]


@pytest.fixture(scope="session")
def hub_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model hub's cache in which the tiny models stand for the released ones."""
    cache = tmp_path_factory.mktemp("hub")
    for name, folder in STANDS_FOR.items():
        repository = cache / f"models--{name.replace('/', '--')}"
        commit = "0" * 40
        (repository / "refs").mkdir(parents=True)
        (repository / "refs" / "main").write_text(commit, encoding="utf-8")
        (repository / "snapshots").mkdir()
        (repository / "snapshots" / commit).symlink_to(TINY / folder, target_is_directory=True)
    return cache


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=str)
def test_python_blocks_run(page: Path, hub_cache: Path) -> None:
    """A reader who types a page's Python blocks in order meets no error."""
    environment = os.environ | {"HF_HUB_CACHE": str(hub_cache), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, str(RUNNER), str(page)],
        env=environment, capture_output=True, check=False, encoding="utf-8",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    assert int(done.stdout.splitlines()[-1]) >= len(blocks(page, "python"))


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_block_is_of_a_kind_that_is_checked(page: Path) -> None:
    """No block escapes: each is Python, a command, a drawing in plain text, or for Sphinx."""
    text = page.read_text(encoding="utf-8")
    languages = {match["language"] for match in FENCE.finditer(text)}
    assert {name for name in languages if not name.startswith("{")} <= {"python", "sh", "text"}
    assert text.count("\n```") + text.startswith("```") == 2 * len(list(FENCE.finditer(text)))


def commands(page: Path) -> list[list[str]]:
    """Return the commands in a page's shell blocks, split into words, without comments."""
    lines = [line for block in blocks(page, "sh") for line in block.splitlines() if line.strip()]
    return [shlex.split(command, comments=True) for line in lines for command in line.split(" && ")]


@pytest.fixture(scope="module")
def sessions() -> set[str]:
    """The names of the sessions in noxfile.py."""
    source = (ROOT / "noxfile.py").read_text(encoding="utf-8")
    begins = r"^def (\w+)\(session: nox.Session(?:, (?:framework|engine): str)?\)"
    return set(re.findall(begins, source, re.MULTILINE))


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_commands_name_what_exists(page: Path, sessions: set[str]) -> None:
    """A command starts a session of noxfile.py, installs an extra, or is understood by our own."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = set(project["optional-dependencies"])
    for words in commands(page):
        if words[:4] == ["python", "-m", "nox", "-s"]:
            end = words.index("--") if "--" in words else len(words)  # options come after it
            assert set(words[4:end]) <= sessions, words
        elif words[:4] == ["python", "-m", "pip", "install"]:
            assert words[4:] == ["nox"], words
        elif words[0] == "qwen-retrieval":
            check_our_command(words[1:])
        else:
            assert words[:2] == ["pip", "install"], f"nothing checks this command: {words}"
            (asked,) = re.findall(r"qwen-retrieval\[([\w,-]+)\]", " ".join(words))
            assert set(asked.split(",")) <= extras, words


def check_our_command(words: list[str]) -> None:
    """Refuse a command, an option or a value that the command line would refuse."""
    need("typer", "cli")
    from typer.core import TyperGroup
    from typer.main import get_command

    from qwen_retrieval.cli.app import app

    group = get_command(app)
    assert isinstance(group, TyperGroup)
    with group.make_context("qwen-retrieval", words[:1]) as context:
        name, command, _ = group.resolve_command(context, words[:1])
        assert command is not None, words
        command.make_context(name, words[1:], parent=context)


def test_continuous_integration_runs_the_readme_s_second_command() -> None:
    """What readers are told to run is what is run for every change."""
    second = blocks(ROOT / "README.md", "sh")[1].strip()
    assert (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()[-1] == second


def test_links_between_pages_lead_somewhere() -> None:
    """Relative links in README and CONTRIBUTING name files of the repository."""
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md"):
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (ROOT / target).exists(), f"{page.name} links to {target}"
