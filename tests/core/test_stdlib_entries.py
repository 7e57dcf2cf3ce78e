"""The corpus of the examples: the documentation of the standard library and its questions."""

from __future__ import annotations

import importlib.util
import inspect
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"

# Python 3.11 gave these a docstring only in a later patch release.
DOCUMENTED_LATER = {"asyncio.TaskGroup", "asyncio.Timeout"}


@pytest.fixture(scope="module")
def example() -> ModuleType:
    """The example's module, from its file: the examples are programs and not installed."""
    spec = importlib.util.spec_from_file_location(
        "stdlib_entries_under_test", EXAMPLES / "stdlib_entries.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def entries(example: ModuleType) -> dict[str, Any]:
    """The entries by id, collected within ten seconds of work."""
    before = os.times()
    found = example.stdlib_entries()
    after = os.times()
    assert sum(after[:4]) - sum(before[:4]) < 10, "collecting takes too long"
    by_id = {entry.id: entry for entry in found}
    assert len(by_id) == len(found), "an id occurs twice"
    return by_id


@pytest.fixture(scope="module")
def questions(example: ModuleType) -> list[Any]:
    """The judged questions."""
    return list(example.load_questions())


def fresh_process(directory: Path) -> tuple[list[dict[str, str]], str]:
    """Return the entries and the error output of an interpreter that was just started."""
    program = (
        "import dataclasses, json, sys\n"
        f"sys.path.insert(1, {str(EXAMPLES)!r})\n"
        "import stdlib_entries\n"
        "entries = stdlib_entries.stdlib_entries()\n"
        "json.dump([dataclasses.asdict(entry) for entry in entries], sys.stdout)\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        cwd=directory,
        capture_output=True,
        check=True,
    )
    return json.loads(done.stdout), done.stderr.decode()


def test_there_are_several_thousand_entries_of_every_kind(entries: dict[str, Any]) -> None:
    """The whole library is collected, not a selection."""
    kinds = Counter(entry.kind for entry in entries.values())
    assert len(entries) > 4500
    assert kinds["module"] > 200
    assert kinds["class"] > 700
    assert kinds["function"] > 3500


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("asyncio.run", "function"),
        ("asyncio.gather", "function"),
        ("bisect.insort_left", "function"),
        ("collections.OrderedDict", "class"),
        ("collections.abc.Mapping", "class"),
        ("concurrent.futures.ThreadPoolExecutor", "class"),
        ("datetime.datetime.strptime", "function"),
        ("dict.setdefault", "function"),
        ("email.utils.parseaddr", "function"),
        ("functools.lru_cache", "function"),
        ("importlib.import_module", "function"),
        ("itertools.groupby", "class"),
        ("json", "module"),
        ("json.dumps", "function"),
        ("list.sort", "function"),
        ("logging.handlers", "module"),
        ("open", "function"),
        ("os.path", "module"),
        ("os.path.join", "function"),
        ("pathlib.Path.glob", "function"),
        ("random.choice", "function"),
        ("random.random", "function"),
        ("re.Pattern.sub", "function"),
        ("socket.socket.connect", "function"),
        ("sorted", "function"),
        ("str.removeprefix", "function"),
        ("str.split", "function"),
        ("threading.local", "class"),
        ("typing.Optional", "class"),
        ("unittest.mock.patch", "function"),
        ("urllib.parse.urljoin", "function"),
        ("xml.etree.ElementTree.parse", "function"),
    ],
)
def test_well_known_names_are_there(entries: dict[str, Any], name: str, kind: str) -> None:
    """Every object has the name under which users know it."""
    assert entries[name].kind == kind


@pytest.mark.parametrize(
    "name",
    [
        "_thread",  # private
        "asyncio.runners.run",  # asyncio.run
        "builtins.open",  # open
        "bool.bit_length",  # inherited from int
        "collections.abc._CallableGenericAlias",  # private
        "io.open",  # open
        "os.path._joinrealpath",  # private
        "pathlib.PosixPath.exists",  # inherited from pathlib.Path
        "posixpath.join",  # os.path.join
        "random.Random.choice",  # random.choice
        "re._compiler.compile",  # private
        "socket.SocketType.connect",  # socket.socket.connect
        "str.__len__",  # dunder
        "test.support",  # a test package
        "this",  # prints when it is imported
        "unicodedata.UCD.normalize",  # says the same as unicodedata.normalize
    ],
)
def test_an_object_is_listed_under_no_other_name(entries: dict[str, Any], name: str) -> None:
    """Private names, inherited methods and longer ways to the same object are left out."""
    assert name not in entries


def test_no_name_is_private(entries: dict[str, Any]) -> None:
    """No part of an id begins with an underscore; `__future__` is public all the same."""
    private = [n for n in entries if any(part.startswith("_") for part in n.split("."))]
    assert [n for n in private if not n.startswith("__future__")] == []


def test_text_is_title_and_whole_docstring(entries: dict[str, Any]) -> None:
    """The text to index begins with the title and cuts nothing off."""
    for entry in entries.values():
        first, _, rest = entry.text.partition("\n")
        assert first == entry.title
        assert entry.title.startswith(entry.id)
        assert rest.strip()
    assert entries["json.dumps"].text.endswith("\n" + inspect.cleandoc(json.dumps.__doc__ or ""))
    assert entries["str.split"].text.endswith("\n" + inspect.cleandoc(str.split.__doc__ or ""))


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("str.removeprefix", "str.removeprefix(prefix, /)"),  # without `self`
        ("os.path.join", "os.path.join(a, *p)"),
        ("operator.itemgetter", "operator.itemgetter"),
        ("struct.pack", "struct.pack(format, v1, v2, ...)"),  # from the docstring's first line
        ("platform.architecture", "platform.architecture(executable=..., bits='', linkage='')"),
        ("json", "json"),
    ],
)
def test_title_carries_the_signature(entries: dict[str, Any], name: str, title: str) -> None:
    """The title is the name with its parameters, without values that differ by machine."""
    assert entries[name].title.startswith(title)


def test_entries_do_not_depend_on_the_run(entries: dict[str, Any], tmp_path: Path) -> None:
    """Two fresh processes and this one list the same texts in the same order, and say nothing.

    Not even a file in the way that has the name of a module changes them.
    """
    (tmp_path / "colorsys.py").write_text('"""A stranger."""\nraise SystemExit("imported")\n')
    first, first_errors = fresh_process(tmp_path)
    second, second_errors = fresh_process(tmp_path)
    assert first == second
    assert [row["text"] for row in first] == [entry.text for entry in entries.values()]
    assert [row["id"] for row in first] == sorted(entries)
    assert first_errors == second_errors == ""
    assert not any(" at 0x" in entry.title for entry in entries.values())


def test_what_others_put_into_the_library_does_not_show(
    example: ModuleType, entries: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The entries are the same after a package has changed classes of the library."""

    def shout(self: object) -> None:
        """Log very loudly."""

    monkeypatch.setattr("logging.Logger.shout", shout, raising=False)
    assert [entry.id for entry in example.stdlib_entries()] == list(entries)


def test_there_are_enough_questions_over_enough_modules(questions: list[Any]) -> None:
    """At least 150 questions, whose answers lie in at least 90 top-level modules."""
    first_parts = {name.split(".")[0] for question in questions for name in question.relevant}
    assert len(questions) >= 150
    assert len(first_parts & sys.stdlib_module_names) >= 90
    assert first_parts - sys.stdlib_module_names, "no question on the builtins"


def test_no_question_or_answer_occurs_twice(questions: list[Any]) -> None:
    """A question counts once, and so does each entry that answers it."""
    texts = Counter(" ".join(question.text.casefold().split()) for question in questions)
    assert [text for text, times in texts.items() if times > 1] == []
    assert [q.text for q in questions if len(set(q.relevant)) != len(q.relevant)] == []


def test_no_question_names_its_answer(questions: list[Any]) -> None:
    """The asker does not know the name: no dotted id and no call stands in a question."""
    named = [(q.text, name) for q in questions for name in q.relevant if name in q.text.split()]
    assert [(text, name) for text, name in named if "." in name] == []
    assert [q.text for q in questions if q.text.endswith("()")] == []


def test_every_answer_is_an_entry(entries: dict[str, Any], questions: list[Any]) -> None:
    """Python 3.11 has every entry that is judged relevant; others leave no question unanswered."""
    assert [q.text for q in questions if not set(q.relevant) & set(entries)] == []
    missing = {name for question in questions for name in question.relevant} - set(entries)
    if sys.version_info[:2] == (3, 11) and sys.platform == "linux":
        assert missing <= DOCUMENTED_LATER
    else:
        assert len(missing) < 20


def test_questions_can_come_from_another_file(example: ModuleType, tmp_path: Path) -> None:
    """Whoever has questions of their own writes them in the same form."""
    path = tmp_path / "own.jsonl"
    path.write_text(
        '{"query": "größte Zahl", "relevant": ["max", "heapq.nlargest"]}\n', encoding="utf-8"
    )
    expected = example.Question("größte Zahl", ("max", "heapq.nlargest"))
    assert example.load_questions(path) == [expected]
