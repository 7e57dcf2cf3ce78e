"""Run the three framework programs on one question and show that they answer the same.

Each runs in a process of its own. Their best five are printed side by side with the reranking
scores; where these differ by more than 1e-6 the exit status is 1. Then the judged questions measure
BM25, embedding and reranking.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from demo import DemoSettings, Hit, add_options, settings_of, terminal

HERE = Path(__file__).resolve().parent
PROGRAMS = {
    "LangChain": "langchain_stdlib.py",
    "LlamaIndex": "llama_index_stdlib.py",
    "Haystack": "haystack_stdlib.py",
}
TOLERANCE = 1e-6


@dataclass(frozen=True)
class Answer:
    """What a framework's program found, what its chain answered, and how long it took."""

    hits: list[Hit]
    answer: str
    seconds: float


def ask(program: str, settings: DemoSettings) -> Answer:
    """Return what a framework's program answers, run in a process of its own."""
    command = [sys.executable, str(HERE / program), "--json", *arguments(settings)]
    # Its progress and its warnings go where ours go.
    done = subprocess.run(command, stdout=subprocess.PIPE, check=False, encoding="utf-8")
    if done.returncode != 0:
        raise SystemExit(f"{program} failed with exit status {done.returncode}.")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return Answer([Hit(**hit) for hit in found["hits"]], found["answer"], found["seconds"])


def arguments(settings: DemoSettings) -> list[str]:
    """Return the command line that asks another program for the same settings."""
    given = [
        f"--{name.replace('_', '-')}={value}"
        for name, value in vars(settings).items()
        if value is not None and name != "progress_bar"
    ]
    return [*given, "--progress-bar" if settings.progress_bar else "--no-progress-bar"]


def difference(answers: list[Answer]) -> str | None:
    """Return where the frameworks differ by more than the tolerance, or None."""
    first, *others = answers
    for other in others:
        if [hit.id for hit in first.hits] != [hit.id for hit in other.hits]:
            return "the frameworks found different entries"
        gap = max(
            (abs(a.score - b.score) for a, b in zip(first.hits, other.hits, strict=True)),
            default=0.0,
        )
        if gap > TOLERANCE:
            return f"the reranking scores differ by {gap:.2e}"
    return None


def show(console: Console, question: str, answers: dict[str, Answer]) -> None:
    """Print the frameworks' best side by side, and what their chains answered."""
    table = Table(
        "", *answers, title=f"“{escape(question)}”", title_justify="left", show_lines=True
    )
    rows = zip_longest(*(answer.hits for answer in answers.values()))
    for place, hits in enumerate(rows, start=1):
        cells = ["" if hit is None else f"{escape(hit.id)}\n{hit.score:.7f}" for hit in hits]
        table.add_row(str(place), *cells)
    console.print(table)
    for name, answer in answers.items():
        console.print(f"{name}'s chain answers: {answer.answer}", markup=False, highlight=False)


def main() -> int:
    """Read the options, run everything, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_options(parser)
    parser.add_argument(
        "--no-evaluation", action="store_true", help="leave out the judged questions"
    )
    options = parser.parse_args()
    settings = settings_of(options)
    console = terminal()
    where = "the standard library" if settings.folder is None else settings.folder
    answers = {}
    for name, program in PROGRAMS.items():
        console.print(f"{name}: indexing {where}, retrieving, reranking …", highlight=False)
        answers[name] = ask(program, settings)
        console.print(f"{name}: done in {answers[name].seconds:.0f} s", highlight=False)
    show(console, settings.question, answers)
    wrong = difference(list(answers.values()))
    if wrong is not None:
        console.print(f"[bold red]The three do not agree: {wrong}.[/]")
        return 1
    console.print(
        "The three agree: the same entries in the same order, scores within"
        f" {TOLERANCE:.0e} of each other.",
        highlight=False,
    )
    if options.no_evaluation:
        return 0
    if settings.folder is not None:
        console.print("nDCG@10 is left out: the judged questions are about the standard library.")
        return 0
    evaluate = [sys.executable, str(HERE / "evaluate_stdlib.py"), *arguments(settings)]
    console.file.flush()
    return subprocess.run(evaluate, check=False).returncode


if __name__ == "__main__":
    raise SystemExit(main())
