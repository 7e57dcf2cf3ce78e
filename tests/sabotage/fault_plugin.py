"""A pytest plugin: runs the whole session with one wiring fault applied.

``PYTHONPATH=tests/sabotage QWEN_RETRIEVAL_FAULT=eos-lost pytest -p fault_plugin tests/contract``
"""

from __future__ import annotations

import os
from contextlib import ExitStack

import pytest
from faults import by_name

_stack = ExitStack()


def pytest_configure(config: pytest.Config) -> None:
    """Apply the fault that the environment names."""
    _stack.enter_context(by_name(os.environ["QWEN_RETRIEVAL_FAULT"]).applied())
    config.add_cleanup(_stack.close)
