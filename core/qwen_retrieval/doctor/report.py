"""What an examination found, as data: one finding a check."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, Literal

Status = Literal["pass", "fail", "skip"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found.

    Attributes:
        check: its name.
        status: "skip" where it does not apply, or where what failed before leaves nothing to judge.
        measured: the value, or why there is none.
        mend: the option to set, if it failed.
        others_only: it failed, but only other clients of the server meet it: this library sends
            token ids, and cuts and scales vectors itself.
    """

    check: str
    status: Status
    measured: str
    mend: str | None = None
    others_only: bool = False


@dataclass(frozen=True, slots=True)
class Report:
    """All findings about one server or model.

    Attributes:
        subject: what was examined, in words.
        compared_with: what the values were compared with, in words.
        findings: in the order of the checks.
    """

    subject: str
    compared_with: str
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing failed."""
        return not self.failed

    @property
    def failed(self) -> tuple[Finding, ...]:
        """The findings that failed."""
        return tuple(each for each in self.findings if each.status == "fail")

    @property
    def wrong(self) -> tuple[Finding, ...]:
        """The findings that failed and that this library itself would meet."""
        return tuple(each for each in self.failed if not each.others_only)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON-able values."""
        return {"ok": self.ok, **asdict(self), "findings": [asdict(f) for f in self.findings]}

    def to_json(self) -> str:
        """Return the report as JSON."""
        return json.dumps(self.to_dict(), ensure_ascii=False, indent=2)


def passed(measured: str) -> Finding:
    """Return a finding that is as it should be; whoever runs the check names it."""
    return Finding("", "pass", measured)


def failed(measured: str, mend: str) -> Finding:
    """Return a finding that needs mending."""
    return Finding("", "fail", measured, mend)


def skipped(reason: str) -> Finding:
    """Return a finding without a judgement."""
    return Finding("", "skip", reason)
