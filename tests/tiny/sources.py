"""The source code of standard library objects, without their docstrings."""

from __future__ import annotations

import ast
import importlib
import inspect
import textwrap
from functools import cache


@cache
def source_of(entry_id: str) -> str:
    """Return the Python source of an object by its dotted name, or "" where there is none."""
    thing = _resolve(entry_id)
    if not (inspect.isfunction(thing) or inspect.ismethod(thing)):
        return ""
    try:
        source = textwrap.dedent(inspect.getsource(thing))
        tree = ast.parse(source)
    except (OSError, SyntaxError, TypeError):  # no file, or bound to something written in C
        return ""
    body = getattr(tree.body[0], "body", []) if tree.body else []
    if not body or ast.get_docstring(tree.body[0]) is None:  # type: ignore[arg-type]
        return source
    lines = source.splitlines()
    first = body[0]
    kept = lines[: first.lineno - 1] + lines[first.end_lineno :]
    return "\n".join(kept) if len(body) > 1 else ""


def _resolve(entry_id: str) -> object:
    parts = entry_id.split(".")
    for cut in range(len(parts), 0, -1):
        try:
            thing: object = importlib.import_module(".".join(parts[:cut]))
        except ImportError:
            continue
        for name in parts[cut:]:
            thing = getattr(thing, name, None)
        return thing
    return None
