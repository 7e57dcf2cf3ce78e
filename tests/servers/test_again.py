"""Which failures are tried again, and after how long; which words of a server are repeated."""

from __future__ import annotations

import time
from email.utils import formatdate

import pytest

from qwen_retrieval.errors import (
    QwenRetrievalError,
    ServerAnswerError,
    ServerRefusedError,
    ServerUnreachableError,
    ServerUnsupportedError,
)
from qwen_retrieval.servers.again import Again, retry_after
from qwen_retrieval.servers.sending import _too_large
from qwen_retrieval.servers.words import message


def refused(status: int, waits: float | None = None, words: str = "") -> ServerRefusedError:
    """Return the error of such an answer."""
    error = ServerRefusedError("refused")
    error.status, error.retry_after, error.words = status, waits, words
    return error


@pytest.mark.parametrize("status", [408, 429, 502, 503, 504])
def test_a_busy_server_is_asked_again_and_again(status: int) -> None:
    """It may have room in a moment."""
    again = Again(60)
    assert [again(refused(status)) for _ in range(3)] == [True] * 3


@pytest.mark.parametrize("status", [424, 500])
def test_a_failed_computation_is_tried_once_more(status: int) -> None:
    """The reason may have been another request."""
    again = Again(60)
    assert [again(refused(status)) for _ in range(3)] == [True, False, False]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 413, 422, 501])
def test_a_refusal_is_final(status: int) -> None:
    """The same request would be refused again."""
    assert not Again(60)(refused(status))


def test_errors_of_other_kinds() -> None:
    """A broken connection is tried again, a wrong answer or certificate is not."""
    assert Again(60)(ServerUnreachableError("reset"))
    assert not Again(60)(ServerUnreachableError("certificate verify failed"))
    assert not Again(60)(ServerAnswerError("x"))
    assert not Again(60)(ServerUnsupportedError("x"))
    assert not Again(60)(TypeError("x"))


def test_the_servers_own_time_is_kept_unless_it_is_too_late() -> None:
    """A wait beyond the deadline is told at once."""
    assert Again(60)(refused(429, 7.0)) == 7.0
    assert Again(5)(refused(429, 7.0)) is False


def test_retry_after_is_a_number_or_a_date() -> None:
    """Anything else is as none."""
    assert retry_after({}) is None
    assert retry_after({"retry-after": "3"}) == 3.0
    assert retry_after({"retry-after": "0"}) == 0.01
    date = formatdate(time.time() + 20, usegmt=True)
    assert retry_after({"retry-after": date}) == pytest.approx(20, abs=2)
    past = formatdate(time.time() - 20, usegmt=True)
    assert retry_after({"retry-after": past}) == 0.01
    for nonsense in ("soon", "inf", "nan", ""):
        assert retry_after({"retry-after": nonsense}) is None


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"error": {"message": "too long", "code": 400}}', "too long"),
        ('{"error": "Overloaded", "error_type": "Overloaded"}', "Overloaded"),
        ('{"detail": [{"msg": "bad"}]}', '[{"msg": "bad"}]'),
        ('{"code": "Throttling", "message": "slow"}', "slow"),
        ("<html>502</html>", "<html>502</html>"),
        ("[" * 100_000, "[" * 100_000),
        ("", ""),
        ("null", "null"),
    ],
)
def test_a_servers_words_are_found(content: str, words: str) -> None:
    """In whatever shape they come."""
    assert message(content.encode()) == words


@pytest.mark.parametrize(
    ("status", "words", "large"),
    [
        (413, "", True),
        (422, "batch size 64 > maximum allowed batch size 32", True),
        (400, "This model's maximum context length is 512", True),
        (400, "batch size is invalid, it should not be larger than 10.", True),
        (400, "unknown field", False),
        (404, "maximum", False),
        (429, "rate limit", False),
    ],
)
def test_what_is_too_large_is_split(status: int, words: str, large: bool) -> None:  # noqa: FBT001
    """By the status, or by the words that go with 400."""
    assert _too_large(refused(status, words=words)) == large


def test_every_server_error_is_the_librarys_and_a_builtin() -> None:
    """So ``except TimeoutError`` and the like keep working."""
    from qwen_retrieval import errors

    for name, builtin in [
        ("ServerUnreachableError", ConnectionError),
        ("ServerTimeoutError", TimeoutError),
        ("ServerAccessError", PermissionError),
        ("ServerAnswerError", ValueError),
        ("ServerUnsupportedError", NotImplementedError),
        ("ServerRefusedError", RuntimeError),
    ]:
        kind = getattr(errors, name)
        assert issubclass(kind, builtin)
        assert issubclass(kind, QwenRetrievalError)
