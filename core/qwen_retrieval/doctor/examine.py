"""The examination: settings in, report out."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from qwen_retrieval.doctor import embedding, reranking
from qwen_retrieval.doctor.checks import Check, run_checks
from qwen_retrieval.doctor.report import Finding, Report
from qwen_retrieval.doctor.subject import EmbedderSubject, RerankerSubject
from qwen_retrieval.errors import ServerSetupError, TruncationWarning
from qwen_retrieval.settings import EmbedderSettings, RerankerSettings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qwen_retrieval.doctor.subject import Subject


def examine(
    settings: EmbedderSettings | RerankerSettings,
    *,
    token: str | None = None,
    local: str | None = None,
    quick: bool = False,
) -> Report:
    """Return what is right and what is wrong with a server, or with a model in this process.

    Args:
        settings: as for `open_embedder` or `open_reranker`.
        token: the server's key, or the hub's.
        local: folder or hub id of the same model, loaded here to compare with. Without it a server
            is compared with published values where there are some, and otherwise with itself.
        quick: leave out what takes long.
    """
    settings = replace(settings, progress_bar=False, check_server=False)
    subject: Subject[Any]
    checks: Sequence[Check[Any]]
    if isinstance(settings, EmbedderSettings):
        subject, checks = EmbedderSubject(settings, token, local), embedding.CHECKS
    else:
        subject, checks = RerankerSubject(settings, token, local), reranking.CHECKS
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", TruncationWarning)  # of the long probes
            findings = run_checks(subject, checks, quick=quick)
    finally:
        subject.client.close()
    return Report(_title(subject), _reference(subject, findings), tuple(findings))


def require_right(settings: EmbedderSettings | RerankerSettings, token: str | None) -> None:
    """Raise where a server is set up wrongly; what ``check_server=True`` runs.

    Raises:
        ServerSetupError: naming each check that failed, what it measured, and the mend.
    """
    failed = examine(settings, token=token, quick=True).failed
    if failed:
        causes = "; ".join(f"{each.check}: {each.measured} → {each.mend}" for each in failed)
        raise ServerSetupError(
            f"the {settings.server} server at {settings.base_url} gives wrong answers ({causes})."
            " Start it so, or set check_server=False to use it as it is."
        )


def _title(subject: Subject[Any]) -> str:
    settings = subject.settings
    if settings.server is None:
        return f"{settings.model} in this process"
    return f"{settings.model} by {subject.client.engine.title} at {settings.base_url}"


def _reference(subject: Subject[Any], findings: Sequence[Finding]) -> str:
    if subject.settings.server is None:
        return "transformers' own computation"
    if subject.local is not None:
        return f"a copy in this process ({subject.local})"
    compared = any("published" in each.measured for each in findings)
    return "published values" if compared else "itself"
