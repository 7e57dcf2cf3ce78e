"""Puts the tests' own packages where their modules find each other."""

from __future__ import annotations

import os
import sys
from pathlib import Path

# Importlib mode puts no folder on the path.
sys.path[:0] = [str(Path(__file__).resolve().parents[1])]
# Nothing here may reach for a hub: what is not in a folder is to fail at once.
os.environ["HF_HUB_OFFLINE"] = "1"
