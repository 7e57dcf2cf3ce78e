"""From raw pairs to the rows of each task: what is asked, what answers it, what nearly does."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, field

from . import judged
from .material import Pair, read_pairs
from .synonyms import Thesaurus

DOCUMENT_CHARACTERS = 420
CODE_CHARACTERS = 300

#: How people begin a question; the empty one leaves keywords.
OPENINGS = (
    "How do I {}?", "How can I {}?", "how to {}", "What is the way to {}?", "I want to {}",
    "Is there a way to {}?", "Which function lets me {}?", "What should I use to {}?",
    "How would I {} in Python?", "I need to {}", "{}", "{}", "Can Python {}?",
)  # fmt: skip

_THIRD_PERSON = re.compile(r"^([A-Z][a-z]+?)(es|s)?\b")
_KEEP_S = {"process", "access", "pass", "compress", "express", "address", "suppress"}


@dataclass(frozen=True, slots=True)
class Row:
    """One training example: the task decides the instruction the query is given."""

    task: str
    query: str
    positive: str
    negative: str = field(default="")


@dataclass(frozen=True, slots=True)
class Function:
    """A documented object: two kinds of text about one thing."""

    title: str
    summary: str
    rest: str
    code: str  # empty where there is no Python source

    def entry(self, *, without_summary: bool = False) -> str:
        """Return the documentation entry as an index would hold it."""
        body = self.rest if without_summary else f"{self.summary} {self.rest}"
        return f"{self.title}\n{body.strip()}"[:DOCUMENT_CHARACTERS]


def library_functions() -> list[Function]:
    """Return the entries of the standard library that answer no judged question."""
    code = {(pair.title, _summary(pair.query)[0]): pair.positive for pair in read_pairs("stdlib")}
    answers = judged.answer_ids()
    found = []
    for entry in judged.entries():
        docstring = entry.text.partition("\n")[2]
        if entry.id in answers or judged.is_from_an_answer(_summary(docstring)[0]):
            continue
        source = code.get((entry.id.rpartition(".")[2], _summary(docstring)[0]), "")
        function = _function(entry.title, docstring, source)
        if function is not None:
            found.append(function)
    return found


def package_functions() -> list[Function]:
    """Return the documented functions of installed packages, without repeats."""
    seen: set[str] = set()
    found = []
    for pair in read_pairs("packages"):
        function = _function(f"{pair.origin}.{pair.title}", pair.query, pair.positive)
        if function is None or function.summary in seen:
            continue
        seen.add(function.summary)
        if not judged.is_from_an_answer(function.summary):
            found.append(function)
    return found


def _summary(docstring: str) -> tuple[str, str]:
    text = " ".join(docstring.split())
    summary, _, rest = text.partition(". ")
    return summary.strip().rstrip(".") + ".", rest.strip()


def _function(title: str, docstring: str, code: str) -> Function | None:
    summary, rest = _summary(docstring)
    if not 4 <= len(summary.split()) <= 32 or len(summary) > 200 or "input_ids" in docstring:
        return None
    return Function(title[:120], summary, rest, code[:CODE_CHARACTERS])


def imperative(summary: str) -> str:
    """Return a summary as the bare verb phrase that a question goes on with."""
    text = summary.rstrip(".")
    match = _THIRD_PERSON.match(text)
    if match is None:
        return text
    verb, ending = match.group(1), match.group(2)
    whole = match.group(0).lower()
    if ending is not None and whole not in _KEEP_S:
        whole = verb.lower() + ("e" if ending == "es" and verb[-1] in "zuv" else "")
        if ending == "es" and not verb.endswith(("ss", "sh", "ch", "x", "o", "z", "u", "v")):
            whole = verb.lower() + "e"
    if whole == "return":
        whole = "get"
    return whole + text[match.end() :]


def question(summary: str, thesaurus: Thesaurus, rng: random.Random) -> str:
    """Return a question that a summary answers, in partly other words."""
    phrase = thesaurus.reword(imperative(summary), rng)
    words = phrase.split()
    if len(words) > 5:  # people leave details out
        words = [word for word in words if rng.random() > 0.12]
    if len(words) > 14:
        words = words[: rng.randint(8, 14)]
    return rng.choice(OPENINGS).format(" ".join(words))


def function_rows(
    found: list[Function], thesaurus: Thesaurus, rng: random.Random, variants: int = 1
) -> list[Row]:
    """Return documentation and code rows; each has the other kind of text as its negative."""
    rows = []
    for function in found:
        code, entry = function.code, function.entry()
        rows += [
            Row("web", question(function.summary, thesaurus, rng), entry, code)
            for _ in range(variants)
        ]
        asked = question(function.summary, thesaurus, rng)
        if code:
            rows.append(Row("code", rng.choice((function.summary, asked)), code, entry))
        if len(function.rest) > 60:
            beheaded = function.entry(without_summary=True)
            rows.append(Row("web", rng.choice((function.summary, asked)), beheaded, code))
    return rows


def other_rows(rng: random.Random, limits: dict[str, int]) -> list[Row]:
    """Return the rows of packages, commands and glosses, at most `limits` of each source."""
    rows = []
    for pair in _sample("debian", limits, rng):
        body = pair.positive[:DOCUMENT_CHARACTERS]
        if len(body) < 60 or len(pair.query) < 12:
            continue
        if rng.random() < 0.5:
            rows.append(Row("web", pair.query, f"{pair.title}\n{body}"))
        else:
            rows.append(Row("package", pair.query, body))
    for pair in _sample("shell", limits, rng):
        task = re.sub(r"\[(\w+)\]", r"\1", pair.query)
        rows.append(Row("shell", task, f"{pair.title}: {pair.positive}"[:CODE_CHARACTERS]))
    rows += [Row("gloss", pair.query, pair.positive) for pair in _sample("gloss", limits, rng)]
    rows += [Row("web", pair.query, pair.positive) for pair in _sample("example", limits, rng)]
    return rows


def _sample(source: str, limits: dict[str, int], rng: random.Random) -> list[Pair]:
    pairs = read_pairs(source)
    rng.shuffle(pairs)
    return pairs[: limits[source]]
