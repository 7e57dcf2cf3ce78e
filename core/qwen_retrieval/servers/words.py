"""A server's own words, as they may be shown: short, on one line, and without the key."""

from __future__ import annotations

import json

MESSAGE = 300
"""Characters of a server's own words in a message, at most."""

MESSAGE_BYTES = 65_536
"""Read of an answer that is an error."""


class Words:
    """What a server answers, made fit for messages."""

    def __init__(self, key: str | None) -> None:
        """Take the key that no message may hold."""
        self._key = key

    def clean(self, words: str) -> str:
        """Return words of the server on one line, without the key, and only then shortened."""
        for key in _forms(self._key):
            words = words.replace(key, "…")
        line = " ".join(words[:MESSAGE_BYTES].split())
        return line if len(line) <= MESSAGE else f"{line[:MESSAGE]}…"

    def shown(self, found: object) -> str:
        """Return the beginning of what a server answered, cleaned."""
        text = ""
        # Piece by piece, since the whole may be large, and a piece holds the key or does not.
        for piece in json.JSONEncoder(ensure_ascii=False, default=repr).iterencode(found):
            text += self.clean(piece)
            if len(text) > MESSAGE:
                break
        return self.clean(text)

    def without_half_a_key(self, content: bytes) -> bytes:
        """Return what was cut without a beginning of the key at its end."""
        key = (self._key or "").encode()
        beginnings = (key[:length] for length in range(len(key) - 1, 0, -1))
        return content.removesuffix(next(filter(content.endswith, beginnings), b""))


def _forms(key: str | None) -> set[str]:
    """Return the ways in which a key may be written in an answer."""
    if not key:
        return set()
    return {key, repr(key)[1:-1], json.dumps(key)[1:-1], key.replace("/", r"\/")}


def message(content: bytes) -> str:
    """Return the server's own words from the many shapes in which they come."""
    text = content.decode(errors="replace")
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return text
    if isinstance(found, dict):
        found = next((found[n] for n in ("error", "message", "detail") if found.get(n)), found)
    if isinstance(found, dict):
        found = found.get("message", found)
    return found if isinstance(found, str) else json.dumps(found, ensure_ascii=False)
