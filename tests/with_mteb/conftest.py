"""Tests that run mteb itself; ``python -m nox -s mteb`` installs it."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1] / "evaluation")]
os.environ["HF_HUB_OFFLINE"] = "1"

# mteb draws in half a gigabyte, so the session `tests` does without: nothing here is collected.
collect_ignore_glob = ["test_*.py"] if importlib.util.find_spec("mteb") is None else []
