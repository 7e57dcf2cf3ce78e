"""Run the Python blocks of a Markdown page in order, as one program: ``run_document.py PAGE``.

A page has a process of its own, because the model hub's cache is chosen before anything is loaded
(see `test_docs.py`), and because a reader begins each page with a fresh interpreter.
"""

from __future__ import annotations

import sys
from pathlib import Path

from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser


def main(page: Path) -> None:
    """Run the page's blocks; say how many there were."""
    examples = list(Sybil([PythonCodeBlockParser()], path=str(page.parent)).parse(page).examples())
    for example in examples:
        example.evaluate()
    sys.stdout.write(f"{len(examples)}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
