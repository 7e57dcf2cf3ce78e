"""What every check is, and those that embedders and rerankers share."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from qwen_retrieval.doctor.mends import mend
from qwen_retrieval.doctor.report import Finding, failed, passed, skipped
from qwen_retrieval.errors import QwenRetrievalError, TextError
from qwen_retrieval.servers.reading import UnreadableError

if TYPE_CHECKING:
    from qwen_retrieval.doctor.subject import Subject

S = TypeVar("S")


@dataclass(frozen=True, slots=True)
class Check(Generic[S]):
    """One question to a subject.

    Attributes:
        name: in the table.
        run: answers it; errors of the server count as a failure, and a probe that the settings
            leave no room for as one that does not apply.
        fault: whose mend is offered then.
        needs: names of checks without whose success this one means nothing.
        is_slow: left out of a quick examination.
    """

    name: str
    run: Callable[[S], Finding]
    fault: str
    needs: Sequence[str] = ()
    is_slow: bool = False


def run_checks(
    subject: Subject[Any], checks: Sequence[Check[Any]], *, quick: bool
) -> list[Finding]:
    """Return a finding for every check, in order."""
    findings: list[Finding] = []
    broken: set[str] = set()
    for check in checks:
        if quick and check.is_slow:
            continue
        before = next((name for name in check.needs if name in broken), None)
        if before is not None:
            found = skipped(f"cannot be judged before {before} is mended")
        else:
            found = _answered(subject, check)
        if found.status == "fail":
            broken.add(check.name)
        findings.append(replace(found, check=check.name))
    return findings


def _answered(subject: Subject[Any], check: Check[Any]) -> Finding:
    try:
        return check.run(subject)
    except TextError as error:  # of the probe, under these settings
        return skipped(_first_line(str(error)))
    except UnreadableError as error:
        words = f"a wrong answer: {error.told(subject.client.shown)}"
        return failed(_first_line(words), fix(subject, check.fault))
    except (QwenRetrievalError, ArithmeticError) as error:
        return failed(_first_line(str(error)), fix(subject, check.fault))


def fix(subject: Subject[Any], fault: str) -> str:
    """Return the option that mends a fault of this subject."""
    return mend(fault, subject.settings.server, subject.settings.model)


def reachable(subject: Subject[Any]) -> Finding:
    """Ask for what the server says of itself."""
    began = time.perf_counter()
    if subject.settings.server is None:
        _ = subject.client.dimensions if hasattr(subject.client, "dimensions") else None
        return passed("in this process")
    subject.served  # noqa: B018 - asks
    return passed(f"{subject.settings.base_url}, {1000 * (time.perf_counter() - began):.0f} ms")


def listed(subject: Subject[Any]) -> Finding:
    """Say which model of which engine it is."""
    if subject.settings.server is None:
        return passed(subject.settings.model)
    version = "" if subject.version is None else f" {subject.version}"
    limit = subject.served.context
    room = "" if limit is None else f", {limit:,} tokens"
    return passed(f"{subject.client.engine.title}{version}: {subject.served.model}{room}")


def _first_line(words: str) -> str:
    words = " ".join(words.split())
    return words if len(words) <= 200 else f"{words[:200]}…"  # noqa: PLR2004 - a table's cell
