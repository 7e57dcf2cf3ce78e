"""Reading files of lines so that whatever is wrong comes out as one sentence with its place."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from qwen_retrieval.errors import DataError, TextError
from qwen_retrieval.texts import check_text

MAX_LINE = 16 * 2**20
"""Bytes a line may have; a longer one is no document but a broken file."""

_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a file, undecoded and without its end."""

    path: Path
    number: int
    offset: int
    raw: bytes

    def fail(self, problem: str) -> NoReturn:
        """Raise `DataError` that says where the problem is."""
        raise DataError(f"{self.path}, line {self.number}: {problem}")

    def text(self) -> str:
        """Return the line decoded."""
        try:
            return self.raw.decode("utf-8")
        except UnicodeDecodeError as error:
            self.fail(
                f"byte {error.start + 1} (0x{self.raw[error.start]:02x}) is not UTF-8; convert the"
                " file to UTF-8."
            )

    def json_object(self) -> dict[str, Any]:
        """Return the line's JSON object."""
        text = self.text()
        try:
            value = json.loads(text)
        except json.JSONDecodeError as error:
            self.fail(
                f"not JSON ({error.msg} at character {error.pos + 1}); give an object a line."
            )
        except (ValueError, RecursionError) as error:  # absurd numbers, absurd nesting
            self.fail(f"JSON that cannot be read ({error}); give an object with plain texts.")
        if not isinstance(value, dict):
            self.fail(f"a JSON {_kind(value)}; give an object a line.")
        return value

    def field(self, row: dict[str, Any], name: str, default: str | None = None) -> str:
        """Return a text field of the line's object; one without default has to be there."""
        if name not in row:
            if default is not None:
                return default
            have = ", ".join(repr(key)[:40] for key in list(row)[:8])
            self.fail(f"the field {name!r} is missing; there are {have or 'no fields'}.")
        value = row[name]
        if not isinstance(value, str):
            self.fail(f"the field {name!r} is a JSON {_kind(value)}; give a string.")
        return self.checked(value, f"the field {name!r}")

    def name(self, value: str, field: str) -> str:
        """Return an id as it is, if a table separated by tabs can hold it."""
        if not value.strip() or any(mark in value for mark in "\t\r\n"):
            self.fail(f"{field} is {value!r:.60}; an id has no tab or line end and is not blank.")
        return value

    def checked(self, text: str, name: str) -> str:
        """Return a text as it is, if it can be written as UTF-8."""
        try:
            return check_text(text, name)
        except TextError as error:
            self.fail(str(error))


def read_lines(path: Path, limit: int = MAX_LINE, *, blank_ones: bool = False) -> Iterator[Line]:
    """Yield the lines of a file; blank ones may stand only at its end, unless asked for.

    Raises:
        DataError: the file cannot be read, a line is longer than `limit` bytes, or blank.
    """
    blank: Line | None = None
    offset = 0
    try:
        with path.open("rb") as file:
            number = 0
            # Bounded, so that a file without line ends cannot take all memory.
            while raw := file.readline(limit + 2):
                number += 1
                start, offset = offset, offset + len(raw)
                line = Line(path, number, start, raw.rstrip(b"\r\n"))
                if len(line.raw) > limit:
                    line.fail(f"longer than {limit:,} bytes; is this a file of lines?")
                if number == 1 and raw.startswith(_BOM):
                    line = Line(path, 1, len(_BOM), line.raw.removeprefix(_BOM))
                if not (blank_ones or line.raw.strip()):
                    blank = line if blank is None else blank
                    continue
                if blank is not None:
                    blank.fail("blank; remove it, blank lines may stand only at the end.")
                yield line
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from error


def _kind(value: object) -> str:
    names = {bool: "true or false", int: "number", float: "number", list: "array", dict: "object"}
    return names.get(type(value), "null" if value is None else "string")
