"""What holds for all tests."""

from __future__ import annotations

from hypothesis import settings

# An example may take as long as a busy machine makes it; only what comes out counts.
settings.register_profile("any time", deadline=None)
settings.load_profile("any time")
