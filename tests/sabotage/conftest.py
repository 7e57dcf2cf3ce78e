"""Puts the table's own modules where tests find them."""

from __future__ import annotations

import sys
from pathlib import Path

# Importlib mode puts no folder on the path.
sys.path.insert(0, str(Path(__file__).parent))
