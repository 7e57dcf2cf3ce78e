"""Prints what a client makes of every fault: the right result, or one clear error.

``python tests/servers/table.py`` takes some representative engines, ``--all`` every one. It ends
with status 1 if any result is wrong, any error unclear, or any call late.

For each engine, kind and way (sync or async) one client meets all faults in turn: a good call,
then the fault once, then the fault every time, then a good call again, which has to be right.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1])]

from rich.console import Console  # noqa: E402 - found through the line above
from rich.table import Table  # noqa: E402 - the same

from qwen_retrieval.errors import QwenRetrievalError  # noqa: E402 - the same
from servers.clients import Client, Way, is_right, prepare  # noqa: E402 - the same
from servers.engines import ENGINES  # noqa: E402 - the same
from servers.fault_server import FaultServer  # noqa: E402 - the same
from servers.faults import FAULTS, GOES_WELL, Fault, applies  # noqa: E402 - the same
from servers.setup import Kind  # noqa: E402 - the same

REPRESENTATIVE = (
    ("vllm", "embedder"),
    ("tei", "embedder"),
    ("vllm", "reranker"),
    ("jina", "reranker"),
)
"""Items with and without a place of their own; by token ids and by text; both shapes of errors."""

EVERY = tuple(
    (name, kind)
    for kind in ("embedder", "reranker")
    for name, engine in ENGINES.items()
    if kind in engine.serves and (name, kind) != ("infinity", "reranker")
)
TIMEOUT = 3.0
SLACK = 1.0
"""Seconds that a call may take beyond its timeout: one for a machine that has other work too."""

KEY = "sk-a-secret-of-the-users"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one call came to.

    Attributes:
        word: "right", "WRONG", or the name of the error.
        tries: requests that the server saw for it.
        seconds: how long it took.
        error: what was raised.
    """

    word: str
    tries: int
    seconds: float
    error: BaseException | None = None

    def __str__(self) -> str:
        times = "" if self.tries == 1 else f", {self.tries} requests"
        return f"{self.word}{times}"


@dataclass(frozen=True, slots=True)
class Row:
    """One fault met by one client: once, then every time, and a good call afterwards."""

    fault: Fault
    engine: str
    kind: Kind
    way: Way
    url: str
    once: Outcome
    always: Outcome
    afterwards: Outcome

    def complaints(self) -> Iterator[str]:
        """Yield what is not as it should be."""
        for when, found in (("once", self.once), ("always", self.always)):
            yield from (f"{when}: {each}" for each in _complaints(found, self))
        if self.afterwards.word != "right":
            yield f"afterwards: {self.afterwards.word}: {self.afterwards.error}"
        if (self.fault.name in GOES_WELL or self.fault.retried) and self.once.word != "right":
            yield f"once: {self.once}, but it should have been got over: {self.once.error}"
        if self.fault.name in GOES_WELL and (self.always.word, self.always.tries) != ("right", 1):
            yield f"always: {self.always}, but it does not matter"
        if self.fault.retried is False and self.once.tries > 1:
            yield f"once: asked {self.once.tries} times, but another try cannot help"


def _complaints(found: Outcome, row: Row) -> Iterator[str]:
    if found.word == "WRONG":
        yield "a wrong result came back"
    elif found.error is not None:
        message = str(found.error)
        if not isinstance(found.error, QwenRetrievalError):
            yield f"an error of another tree: {found.error!r}"
        else:
            if row.url.removeprefix("http://") not in message:
                yield f"the message does not name the server: {message}"
            if not any(word in message for word in REMEDIES):
                yield f"the message names no remedy: {message}"
        if KEY in message or KEY in repr(found.error):
            yield "the key is in the message"
    if found.seconds > TIMEOUT + SLACK:
        yield f"took {found.seconds:.1f} s with a timeout of {TIMEOUT} s"


REMEDIES = (
    "set ", "raise ", "lower ", "start ", "check ", "give ", "use ", "wait", "update ", "ask ",
    "look ", "choose ", "send ", "shorten ", "leave ", "try ", "see ", "make ", "serve ", "run ",
)  # fmt: skip


def rows(
    subjects: Sequence[tuple[str, Kind]] = REPRESENTATIVE, faults: Sequence[Fault] = FAULTS
) -> list[Row]:
    """Return all rows; the clients work side by side, since they mostly wait."""
    prepare()
    ways: tuple[Way, ...] = ("sync", "async")
    clients = [(*subject, way) for subject in subjects for way in ways]
    with ThreadPoolExecutor(8) as pool:
        found = pool.map(lambda each: list(_client_rows(*each, faults)), clients)
        return [row for several in found for row in several]


def _client_rows(engine: str, kind: Kind, way: Way, faults: Sequence[Fault]) -> Iterator[Row]:
    with FaultServer(engine, serves=kind, api_key=KEY) as server:
        client = Client(server, way=way, token=KEY, timeout=TIMEOUT, max_retries=2)
        client.warm()  # what a client asks a server for at first is no part of this
        for fault in faults:
            if not applies(fault, kind, indexed=_indexed(server, engine, kind)):
                continue
            outcomes = []
            for times in (1, None, 0):
                server.heal()
                if times != 0:
                    server.inject(fault, times=times)
                outcomes.append(_outcome(server, client))
            yield Row(fault, engine, kind, way, server.url, *outcomes)
        client.close()


def _indexed(server: FaultServer, engine: str, kind: Kind) -> bool:
    # SGLang's scores have no place, its embeddings have one.
    return server.engine.indexed and (engine, kind) != ("sglang", "reranker")


def _outcome(server: FaultServer, client: Client) -> Outcome:
    server.forget()
    began, error, word = time.monotonic(), None, ""
    try:
        word = "right" if is_right(client.use()) else "WRONG"
    except Exception as raised:  # noqa: BLE001 - which one it is goes into the table
        error, word = raised, type(raised).__name__
    return Outcome(word, len(server.work), time.monotonic() - began, error)


def printed(found: Sequence[Row], console: Console) -> None:
    """Print the rows, sync and async in one cell where they agree."""
    columns = list(dict.fromkeys((row.engine, row.kind) for row in found))
    by_place: dict[tuple[str, str, str, str], Row] = {
        (row.fault.name, row.engine, row.kind, row.way): row for row in found
    }
    for when in ("once", "always"):
        table = Table(title=f"What comes of a fault that a server has {_when(when)}")
        table.add_column("fault")
        for engine, kind in columns:
            table.add_column(f"{engine} {'embed' if kind == 'embedder' else 'rerank'}")
        for fault in dict.fromkeys(row.fault.name for row in found):
            cells = [
                _cell([by_place.get((fault, *column, way)) for way in ("sync", "async")], when)
                for column in columns
            ]
            table.add_row(fault, *cells)
        console.print(table)


def markdown(found: Sequence[Row]) -> str:
    """Return one table in Markdown; what all clients made of a fault stands there once."""
    lines = ["| fault | once | every time |", "|---|---|---|"]
    for fault in dict.fromkeys(row.fault for row in found):
        rows = [row for row in found if row.fault is fault]
        lines.append(f"| {fault} | {_cell(rows, 'once')} | {_cell(rows, 'always')} |")
    return "\n".join(lines)


def _when(when: str) -> str:
    return "once" if when == "once" else "every time"


def _cell(both: Sequence[Row | None], when: str) -> str:
    words = list(dict.fromkeys(str(getattr(row, when)) for row in both if row is not None))
    return " / ".join(words) or "has no such answer"


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--all", action="store_true", help="every engine")
    parser.add_argument("--markdown", action="store_true", help="as the documentation has it")
    parser.add_argument("--only", nargs="*", help="names of faults; all by default")
    chosen = parser.parse_args()
    faults = [each for each in FAULTS if not chosen.only or each.name in chosen.only]
    console = Console(width=None if sys.stdout.isatty() else 200)
    found = rows(EVERY if chosen.all else REPRESENTATIVE, faults)
    if chosen.markdown:
        sys.stdout.write(markdown(found) + "\n")
    else:
        printed(found, console)
    bad = 0
    for row in found:
        for complaint in row.complaints():
            bad += 1
            console.print(
                f"{row.fault} · {row.engine} {row.kind} {row.way} · {complaint}", style="red"
            )
    calls = 3 * len(found)
    console.print(f"{len(found)} faults met in {calls} calls; {bad} not as they should be.")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
