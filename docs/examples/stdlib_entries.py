"""The documentation of Python's standard library, as texts to index and questions to ask of it.

Real text that lies on every machine which has Python: nothing is downloaded, and only the
standard library is used. Every public module, class, function and method with a docstring of the
interpreter that runs this is one entry::

    from stdlib_entries import load_questions, stdlib_entries

    entries = stdlib_entries()
    texts = [entry.text for entry in entries]          # what to index
    ids = [entry.id for entry in entries]              # "json.dumps", "str.removeprefix", ...

    for question in load_questions():
        question.text                                  # "how do I turn a dict into a JSON string"
        question.relevant                              # ("json.dumps",): ids of what answers it

The questions lie beside this file in ``stdlib_questions.jsonl``, one JSON object a line. They were
written by hand, before any search engine or model had seen them. Then the ten best of BM25 for each
were read once, to add entries that answer it and had been missed. Python 3.11 is the reference;
another version may lack an id or two.
"""

from __future__ import annotations

import contextlib
import enum
import importlib
import inspect
import io
import json
import pkgutil
import re
import subprocess
import sys
import types
import typing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator

Kind = Literal["module", "class", "function"]
T = TypeVar("T")

_SKIPPED = frozenset(
    {
        # Importing them opens a browser, or prints a poem.
        "antigravity",
        "this",
        # Programs and their inner parts rather than a library.
        "idlelib",
        "lib2to3",
        "turtledemo",
        "pydoc_data",
        # Linux distributions ship them apart from Python: with them the entries, and so the
        # figures measured on them, would differ between machines with the same Python.
        "distutils",
        "tkinter",
        "turtle",
        # More than a hundred generated tables that all say the same; `codecs` is their interface.
        "encodings",
        # What `os`, `os.path`, `urllib.request` and `re` are made of: their names are theirs.
        "genericpath",
        "nt",
        "ntpath",
        "nturl2path",
        "posix",
        "posixpath",
        "sre_compile",
        "sre_constants",
        "sre_parse",
        # One platform only, and gone since Python 3.13.
        "msilib",
        "nis",
        "ossaudiodev",
        "spwd",
    }
)
# Public modules that neither the list of names nor walking the packages shows.
_ADDED = ("__future__", "os.path")
# Parts of packages that are not for import: tests, and what `python -m` starts.
_SKIPPED_PARTS = frozenset({"test", "tests", "__main__"})


@dataclass(frozen=True, slots=True)
class Entry:
    """One documented object of the standard library."""

    id: str
    """Dotted name as users write it: ``json.dumps``, ``str.removeprefix``."""
    text: str
    """What to index: the title, a newline, the whole docstring without its indentation."""
    kind: Kind
    title: str
    """The name with its signature, where one is known: ``bisect.insort_left(a, x, lo=0, ...)``."""


@dataclass(frozen=True, slots=True)
class Question:
    """A question in plain words, and the ids of all entries that answer it."""

    text: str
    relevant: tuple[str, ...]


def load_questions(path: Path | None = None) -> list[Question]:
    """Return the judged questions in the order of their file, by default the one beside this.

    Each line of `path` is ``{"query": "...", "relevant": ["id", ...]}``.
    """
    if path is None:
        path = Path(__file__).with_name("stdlib_questions.jsonl")
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [Question(row["query"], tuple(row["relevant"])) for row in rows]


def stdlib_entries() -> list[Entry]:
    """Return every documented public object of the running interpreter's standard library.

    The order is that of the ids and does not change between runs. An object that can be reached
    under several names is listed once, under the shortest public one. A method whose docstring
    only repeats that of the class it comes from is left out, and so are names with an underscore.

    A fresh interpreter that sees nothing but the standard library does the work, in about two
    seconds. So importing outdated modules has no effect here, and what others have put into the
    library does not show: torch has its own `inspect.getfile`, transformers its own methods of
    loggers, and a file of yours may have the name of a module.
    """
    python = [sys.executable, "-I", "-S", "-W", "ignore", __file__]
    found = subprocess.run(python, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=True)
    return [Entry(**row) for row in json.loads(found.stdout)]


# --- which modules ---------------------------------------------------------------------------


def _modules() -> dict[str, types.ModuleType]:
    """Return the public modules by name."""
    found: dict[str, types.ModuleType] = {}
    names = [n for n in sys.stdlib_module_names if not n.startswith("_") and n not in _SKIPPED]
    for name in sorted([*names, *_ADDED]):
        found.update(_with_submodules(name))
    return found


def _with_submodules(name: str) -> Iterator[tuple[str, types.ModuleType]]:
    try:
        module = importlib.import_module(name)
    except ImportError:  # of another platform, or left out when this interpreter was built
        return
    yield name, module
    for part in pkgutil.iter_modules(getattr(module, "__path__", ())):
        if part.name.startswith("_") or part.name in _SKIPPED_PARTS:
            continue
        for child_name, child in _with_submodules(f"{name}.{part.name}"):
            # `unittest.main` is a module, but whoever writes it gets the class of that name.
            if child_name.count(".") > name.count(".") + 1 or child is vars(module)[part.name]:
                yield child_name, child


# --- which objects, under which name ---------------------------------------------------------


@dataclass(frozen=True, order=True, slots=True)
class _Name:
    """A name of an object; of several the smallest is the one users know."""

    dots: int
    is_unlisted: bool
    distance: int  # from the class that a method is seen in to the one that defines it
    is_elsewhere: bool  # defined in another module than the one it is seen in
    is_alias: bool
    id: str


@dataclass(frozen=True, slots=True)
class _Function:
    """A function or method as it was found."""

    call: object
    takes_self: bool


_FORMS = type(typing.Optional)  # `Optional`, `Literal`, ...: classes to those who write them


def _collect(modules: dict[str, types.ModuleType]) -> list[Entry]:
    classes: dict[int, tuple[_Name, type]] = {}
    functions: dict[int, tuple[_Name, _Function]] = {}
    entries = [_entry(name, "module", name, module.__doc__) for name, module in modules.items()]
    for module_name, module in modules.items():
        for label, thing in _public_objects(module_name, module):
            if isinstance(thing, type):
                _keep_best(classes, id(thing), label, thing)
            elif _is_function(thing):
                _keep_best(functions, _key(thing), label, _Function(thing, takes_self=False))
            elif isinstance(thing, _FORMS):
                entries.append(_entry(label.id, "class", label.id, thing.__doc__))
    for label, cls in classes.values():
        for method_label, method in _methods(label, cls, classes):
            _keep_best(functions, _key(method.call), method_label, method)

    entries += [_class_entry(label.id, cls) for label, cls in classes.values()]
    shadowed = _shadowed(functions)
    entries += [
        _function_entry(label.id, function)
        for label, function in functions.values()
        if label.id not in shadowed
    ]
    return sorted((entry for entry in entries if entry is not None), key=lambda entry: entry.id)


def _keep_best(found: dict[int, tuple[_Name, T]], key: int, label: _Name, thing: T) -> None:
    if key not in found or label < found[key][0]:
        found[key] = (label, thing)


def _shadowed(functions: dict[int, tuple[_Name, _Function]]) -> set[str]:
    """Return the methods that say the same as the function of that name in their module.

    `unicodedata.UCD.normalize` is one: nobody writes it, and it would only double its text.
    """
    docs = {label.id: function.call.__doc__ for label, function in functions.values()}
    return {
        name
        for name, doc in docs.items()
        if name.count(".") == 2 and docs.get(re.sub(r"\.\w+\.", ".", name)) == doc  # noqa: PLR2004
    }


def _public_objects(module_name: str, module: types.ModuleType) -> Iterator[tuple[_Name, object]]:
    exported = getattr(module, "__all__", None)
    for name in sorted({*vars(module), *(() if exported is None else exported)}):
        thing = getattr(module, name, None)
        home = getattr(thing, "__module__", None)
        if name.startswith("_") or thing is None:
            continue
        is_listed = exported is None or name in exported
        if not (is_listed or _is_listed_in_part(module_name, name, home)):
            continue
        # `open` is at home in `io` as far as it knows.
        is_own = home == module.__name__ or (module_name == "builtins" and thing is io.open)
        is_alias = getattr(thing, "__name__", name) != name
        if isinstance(thing, type) and is_alias and _is_known_otherwise(thing):
            continue
        # Without a list of exports, what comes from a private module is the implementation,
        # and what comes from another public one was only imported.
        if exported is None and not (is_own or _is_private(home)):
            continue
        is_builtin = module_name == "builtins"
        yield (
            _Name(
                dots=0 if is_builtin else module_name.count(".") + 1,
                is_unlisted=not is_listed,
                distance=0,
                is_elsewhere=not is_own,
                is_alias=is_alias,
                id=name if is_builtin else f"{module_name}.{name}",
            ),
            thing,
        )


def _is_listed_in_part(package: str, name: str, home: object) -> bool:
    """Tell what a package forgot to list, as that of Python 3.11 did with `asyncio.TaskGroup`."""
    if not isinstance(home, str) or not home.startswith(f"{package}."):
        return False
    return name in getattr(sys.modules[home], "__all__", ())


def _is_private(module_name: object) -> bool:
    """Tell whether objects of this module are meant to be found elsewhere; C's may name none."""
    return not isinstance(module_name, str) or module_name.startswith("_")


def _is_known_otherwise(cls: type) -> bool:
    """Tell whether this is the implementation of a class that has a name of its own.

    `socket.SocketType` is the inner part of `socket.socket`, under whose name its methods are
    known; `threading.local` has no better name.
    """
    return _is_private(cls.__module__) and not cls.__name__.startswith("_")


def _methods(
    label: _Name, cls: type, classes: dict[int, tuple[_Name, type]]
) -> Iterator[tuple[_Name, _Function]]:
    """Yield the methods of `cls` and those of its private bases, which no other name leads to."""
    for distance, owner in enumerate(cls.__mro__):
        if distance > 0 and id(owner) in classes:
            continue
        for name, raw in vars(owner).items():
            if name.startswith("_") or inspect.getattr_static(cls, name, None) is not raw:
                continue
            call = raw.__func__ if isinstance(raw, (staticmethod, classmethod)) else raw
            if not _is_function(call) or _repeats_a_base(owner, name, call, classes):
                continue
            yield (
                _Name(
                    dots=label.dots + 1,
                    is_unlisted=label.is_unlisted,
                    distance=distance,
                    is_elsewhere=label.is_elsewhere,
                    is_alias=getattr(call, "__name__", name) != name,
                    id=f"{label.id}.{name}",
                ),
                _Function(call, takes_self=not isinstance(raw, staticmethod)),
            )


def _repeats_a_base(
    owner: type, name: str, call: object, classes: dict[int, tuple[_Name, type]]
) -> bool:
    return any(
        getattr(vars(base)[name], "__doc__", None) == call.__doc__
        for base in owner.__mro__[1:]
        if id(base) in classes and name in vars(base)
    )


def _is_function(thing: object) -> bool:
    # What `functools.lru_cache` returns is no routine, but wraps one.
    return inspect.isroutine(thing) or inspect.isfunction(
        inspect.getattr_static(thing, "__wrapped__", None)
    )


def _key(call: object) -> int:
    """Return what `random.choice` and `random.Random.choice` have in common."""
    if inspect.ismethod(call):
        return id(call.__func__)
    owner = getattr(call, "__self__", None)  # a module, for most functions written in C
    if inspect.isbuiltin(call) and not isinstance(owner, (types.ModuleType, type, None.__class__)):
        return id(getattr(type(owner), call.__name__, call))
    return id(call)


# --- what is said about them -----------------------------------------------------------------


def _class_entry(name: str, cls: type) -> Entry | None:
    doc = _own_doc(cls)
    return _entry(name, "class", name + _signature_of_class(cls, doc), doc)


def _function_entry(name: str, function: _Function) -> Entry | None:
    doc = getattr(function.call, "__doc__", None)
    return _entry(name, "function", name + _signature(function, doc), doc)


def _entry(name: str, kind: Kind, title: str, doc: object) -> Entry | None:
    """Return the entry, or None where the docstring says nothing but the name or signature."""
    if not isinstance(doc, str):
        return None
    text = inspect.cleandoc(doc)
    said = text.removeprefix(_signature_in(name, text, with_name=True))
    if said == name.rpartition(".")[2] or not re.search(r"\w", said):
        return None
    return Entry(id=name, text=f"{title}\n{text}", kind=kind, title=title)


def _own_doc(cls: type) -> str | None:
    """Return the docstring of the class; some have it at `__init__` instead."""
    doc = cls.__doc__ if "__doc__" in vars(cls) else None
    if doc is None and inspect.isfunction(vars(cls).get("__init__")):
        doc = vars(cls)["__init__"].__doc__
    return None if any(doc == base.__doc__ for base in cls.__mro__[1:]) else doc


def _signature_in(name: str, doc: str, *, with_name: bool = False) -> str:
    """Return the ``(a, b[, c])`` that docstrings of functions written in C begin with, or ""."""
    last = re.escape(name.rpartition(".")[2])
    found = re.match(rf"(?:\w+\.)?{last}(\((?:[^()\n]|\([^()\n]*\))*\))", doc)
    return "" if found is None else found[0 if with_name else 1]


def _signature_of_class(cls: type, doc: str | None) -> str:
    # The signatures of enumerations and of most exceptions say nothing about them.
    if issubclass(cls, enum.Enum):
        return ""
    signature = _signature(_Function(cls, takes_self=False), doc)
    return "" if signature in ("()", "(*args, **kwargs)") else signature


def _signature(function: _Function, doc: str | None) -> str:
    try:
        signature = inspect.signature(function.call)  # type: ignore[arg-type]
    except (AttributeError, NameError, TypeError, ValueError):
        # Written in C without one, or with a default that is not there yet (curses, before a
        # terminal is opened).
        name = getattr(function.call, "__name__", "")
        return "" if doc is None else _signature_in(name, inspect.cleandoc(doc))
    parameters = [
        parameter.replace(annotation=inspect.Parameter.empty, default=_readable(parameter.default))
        for parameter in list(signature.parameters.values())[1 if function.takes_self else 0 :]
    ]
    return str(inspect.Signature(parameters))


class _Ellipsis:
    def __repr__(self) -> str:
        return "..."


def _readable(default: object) -> object:
    """Return the default where it reads as in source, else dots: others differ by run or place."""
    if isinstance(default, str) and default.startswith((sys.executable, sys.base_prefix)):
        return _Ellipsis()
    plain = (type(None), bool, int, float, str, bytes)
    if default is inspect.Parameter.empty or type(default) in plain or default == ():
        return default
    return _Ellipsis()


if __name__ == "__main__":
    # What `stdlib_entries` runs. Nothing that is imported may write between the lines.
    with contextlib.redirect_stdout(io.StringIO()):
        _rows = [asdict(entry) for entry in _collect(_modules())]
    sys.stdout.write(json.dumps(_rows))
