"""The command line ``qwen-retrieval``; each command has a module of its own beside this one."""

from __future__ import annotations

import sys
import warnings

from qwen_retrieval.errors import QwenRetrievalError


def main() -> None:
    """Run the command line; an error that the library raises on purpose ends it with a sentence.

    So does what the system refuses: a full disk, a file that may not be read or written.

    Exit status 0 means done, 1 an error or a failed check, 2 arguments that cannot be understood.
    """
    try:
        from qwen_retrieval.cli.app import app  # noqa: PLC0415 - the extra may be missing
    except ModuleNotFoundError as error:
        sys.exit(
            f"The command line needs the package {error.name!r}:"
            " python -m pip install 'qwen-retrieval[cli]'"
        )
    in_python = warnings.formatwarning
    warnings.formatwarning = _as_sentence
    try:
        app()
    except QwenRetrievalError as error:
        sys.exit(f"Error: {error}")
    except OSError as error:
        named = error.filename is not None and error.strerror is not None
        sys.exit(f"Error: {error.filename}: {error.strerror}." if named else f"Error: {error}")
    finally:
        warnings.formatwarning = in_python


def _as_sentence(message: Warning | str, *_: object, **__: object) -> str:
    """Return a warning without the line of code that it came from, which is no help here."""
    return f"Warning: {message}\n"
