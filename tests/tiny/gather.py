"""The same pairs from this machine itself, for one that lacks the material folder.

Docstrings and sources come from installed packages and the standard library, by parsing them;
package descriptions from apt; WordNet from the files of Debian's wordnet-base, where installed. A
source that the machine does not have gives no pairs and says so in the log.
"""

from __future__ import annotations

import ast
import logging
import re
import subprocess
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from .material import Pair

log = logging.getLogger(__name__)

WORDNET = Path("/usr/share/wordnet")
_LARGEST_FILE = 400_000
_WORDNET_PARTS = ("noun", "verb", "adj", "adv")


def gather(source: str) -> Iterator[Pair]:
    """Yield the pairs of one of `material.SOURCES`."""
    paths = sysconfig.get_paths()
    if source == "stdlib":
        yield from docstrings(Path(paths["stdlib"]), skip="site-packages")
    elif source == "packages":
        yield from docstrings(Path(paths["purelib"]), skip="tests")
    elif source == "debian":
        yield from descriptions()
    elif source in {"gloss", "example"}:
        yield from glosses(examples=source == "example")
    else:
        log.warning("%s: this machine has no such text; the models will know less of it", source)


def docstrings(root: Path, skip: str) -> Iterator[Pair]:
    """Yield (docstring, source without it) of every documented function under a folder."""
    for path in sorted(root.rglob("*.py")):
        inside = path.relative_to(root)
        if skip in inside.parts or "test" in inside.parts or path.stat().st_size > _LARGEST_FILE:
            continue
        try:
            text = path.read_text(encoding="utf-8")
            tree = ast.parse(text)
        except (SyntaxError, UnicodeDecodeError, ValueError):
            continue
        lines = text.splitlines()
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                pair = _pair(node, lines, str(inside.with_suffix("")).replace("/", "."))
                if pair is not None:
                    yield pair


def _pair(
    node: ast.FunctionDef | ast.AsyncFunctionDef, lines: list[str], module: str
) -> Pair | None:
    docstring = ast.get_docstring(node)
    if docstring is None or len(node.body) == 1:
        return None
    first = node.body[0]
    source = lines[node.lineno - 1 : first.lineno - 1] + lines[first.end_lineno : node.end_lineno]
    head = docstring.split("\n\n")[0]
    return Pair(" ".join(head.split())[:400], "\n".join(source), node.name, module)


def descriptions() -> Iterator[Pair]:
    """Yield (summary, description) of the packages that apt knows."""
    try:
        dump = subprocess.run(
            ["apt-cache", "dumpavail"],  # noqa: S607 - wherever the system has it
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    except (FileNotFoundError, subprocess.CalledProcessError) as error:
        log.warning("no package descriptions: %s", error)
        return
    for record in dump.split("\n\n"):
        name = re.search(r"^Package: (.+)$", record, re.MULTILINE)
        text = re.search(r"^Description(?:-en)?: (.+)\n((?: .*\n?)+)", record, re.MULTILINE)
        if name is not None and text is not None:
            body = " ".join(line.strip(" .") for line in text[2].splitlines())
            yield Pair(text[1].strip(), body.strip(), name[1], "")


def glosses(*, examples: bool) -> Iterator[Pair]:
    """Yield (lemma, gloss), or (example, lemmas and gloss), from WordNet's data files."""
    for part in _WORDNET_PARTS:
        path = WORDNET / f"data.{part}"
        if not path.exists():
            log.warning("no WordNet at %s (Debian package wordnet-base)", path)
            return
        for line in path.read_text(encoding="utf-8").splitlines():
            if not line.startswith("  "):  # the licence
                yield from _synset(line, examples=examples)


def _synset(line: str, *, examples: bool) -> Iterator[Pair]:
    data, _, text = line.partition(" | ")
    fields = data.split()
    count = int(fields[3], 16)
    lemmas = [
        re.sub(r"\(\w+\)$", "", word).replace("_", " ") for word in fields[4 : 4 + 2 * count : 2]
    ]
    gloss, *rest = text.strip().split('; "')
    if examples:
        for example in rest:
            yield Pair(example.strip(' ";'), f"{', '.join(lemmas)}: {gloss}", "", "")
    else:
        for lemma in lemmas:
            yield Pair(lemma, gloss, "", "")
