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

UNAFFECTED = "; this library is not affected"
"""Said of what only other clients of a server meet."""


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
        others_only: whether, of this subject, it asks what only other clients would meet.
    """

    name: str
    run: Callable[[S], Finding]
    fault: str
    needs: Sequence[str] = ()
    is_slow: bool = False
    others_only: Callable[[S], bool] = lambda subject: False  # noqa: ARG005


def run_checks(
    subject: Subject[Any],
    checks: Sequence[Check[Any]],
    *,
    quick: bool,
    raises: Callable[[Exception], bool],
) -> list[Finding]:
    """Return a finding for every check, in order; errors that `raises` names come out."""
    findings: list[Finding] = []
    broken: set[str] = set()
    broken_for_others: set[str] = set()
    for check in checks:
        if quick and check.is_slow:
            continue
        others = check.others_only(subject)
        bad = broken | broken_for_others if others else broken
        before = next((name for name in check.needs if name in bad), None)
        if before is not None:
            found = skipped(f"cannot be judged before {before} is mended")
        else:
            found = _answered(subject, check, raises)
        if found.status == "fail":
            others = others or found.others_only
            (broken_for_others if others else broken).add(check.name)
            if others:
                found = replace(found, others_only=True, measured=found.measured + UNAFFECTED)
        findings.append(replace(found, check=check.name))
    return findings


def serves(subject: Subject[Any]) -> bool:
    """Say whether it is a server, which others may use too."""
    return subject.settings.server is not None


def gets_ids(subject: Subject[Any]) -> bool:
    """Say whether the library sends token ids there, so that the server makes no prompt."""
    return serves(subject) and bool(subject.client.engine.takes_ids)


def _answered(
    subject: Subject[Any], check: Check[Any], raises: Callable[[Exception], bool]
) -> Finding:
    try:
        return check.run(subject)
    except (QwenRetrievalError, UnreadableError, ArithmeticError) as error:
        if raises(error):
            raise
        return _told(subject, check, error)


def _told(subject: Subject[Any], check: Check[Any], error: Exception) -> Finding:
    if isinstance(error, TextError):  # of the probe, under these settings
        return skipped(_first_line(str(error)))
    words = str(error)
    if isinstance(error, UnreadableError):
        words = f"a wrong answer: {error.told(subject.client.shown)}"
    return failed(_first_line(words), fix(subject, check.fault))


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
    return passed(f"{subject.address}, {1000 * (time.perf_counter() - began):.0f} ms")


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
