"""The examination: settings in, report out."""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from qwen_retrieval.doctor import embedding, reranking
from qwen_retrieval.doctor.checks import Check, run_checks
from qwen_retrieval.doctor.report import Finding, Report
from qwen_retrieval.doctor.subject import EmbedderSubject, RerankerSubject
from qwen_retrieval.errors import (
    ModelError,
    ServerAccessError,
    ServerRefusedError,
    ServerSetupError,
    ServerTimeoutError,
    ServerUnreachableError,
    SettingsError,
    TruncationWarning,
)
from qwen_retrieval.servers.again import BUSY
from qwen_retrieval.settings import EmbedderSettings, RerankerSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

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
    return _examined(settings, token=token, local=local, quick=quick)


def require_right(settings: EmbedderSettings | RerankerSettings, token: str | None) -> None:
    """Raise where a server is set up wrongly; what ``check_server=True`` runs.

    What only other clients of the server would meet is let pass.

    Raises:
        ServerSetupError: naming each check that failed, what it measured, and the mend.
        ServerError: nobody answers, or not in time, or the key is wrong, or the server is busy.
        SettingsError: the settings do not fit the server, or the model.
        ModelError: the model's tokenizer cannot be had.
    """
    wrong = _examined(settings, token=token, quick=True, raises=_is_no_finding).wrong
    if wrong:
        causes = "; ".join(f"{each.check}: {each.measured} → {each.mend}" for each in wrong)
        where = "" if settings.base_url is None else f" at {settings.base_url}"
        raise ServerSetupError(
            f"the {settings.server} server{where} gives wrong answers ({causes})."
            " Start it so, or set check_server=False to use it as it is."
        )


def _is_no_finding(error: Exception) -> bool:
    """Say whether an error says nothing of how the server is set up, and is its own message."""
    if isinstance(error, ServerRefusedError) and error.status in BUSY:
        return True
    return isinstance(
        error,
        ServerUnreachableError
        | ServerTimeoutError
        | ServerAccessError
        | SettingsError
        | ModelError,
    )


def _examined(
    settings: EmbedderSettings | RerankerSettings,
    *,
    token: str | None,
    local: str | None = None,
    quick: bool,
    raises: Callable[[Exception], bool] = lambda error: False,  # noqa: ARG005
) -> Report:
    settings = replace(settings, progress_bar=False, check_server=False)
    subject: Subject[Any]
    checks: Sequence[Check[Any]]
    if isinstance(settings, EmbedderSettings):
        subject, checks = EmbedderSubject(settings, token, local), embedding.CHECKS
    else:
        subject, checks = RerankerSubject(settings, token, local), reranking.CHECKS
    try:
        with _quiet(settings):
            findings = run_checks(subject, checks, quick=quick, raises=raises)
    finally:
        subject.client.close()
    return Report(_title(subject), _reference(subject, findings), tuple(findings))


@contextmanager
def _quiet(settings: EmbedderSettings | RerankerSettings) -> Iterator[None]:
    """Leave out warnings of the long probes, where a model in this process would cut them.

    Not of a server's: those fit, and a first call examines it beside other threads, all of which
    share one list of filters.
    """
    if settings.server is not None:
        yield
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TruncationWarning)
        yield


def _title(subject: Subject[Any]) -> str:
    settings = subject.settings
    if settings.server is None:
        return f"{settings.model} in this process"
    return f"{settings.model} by {subject.client.engine.title} at {subject.address}"


def _reference(subject: Subject[Any], findings: Sequence[Finding]) -> str:
    if subject.settings.server is None:
        return "transformers' own computation"
    if subject.local is not None:
        return f"a copy in this process ({subject.local})"
    compared = any("published" in each.measured for each in findings)
    return "published values" if compared else "itself"
