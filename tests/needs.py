"""What a test needs that may not be installed: left out with its reason, or asked for by name."""

from __future__ import annotations

import importlib.util
import os

import pytest


def need(package: str, extra: str) -> None:
    """Skip the test where the package is missing; fail where the environment says it must be there.

    ``QWEN_RETRIEVAL_REQUIRE`` names extras, or "all", which is how this repository's own sessions
    run: there nothing that can be installed is left out.
    """
    top = package.split(".", maxsplit=1)[0]
    if importlib.util.find_spec(top) is not None and importlib.util.find_spec(package) is not None:
        return
    reason = f"{package} is not installed (pip install 'qwen-retrieval[{extra}]')"
    named = os.environ.get("QWEN_RETRIEVAL_REQUIRE", "").replace("_", "-").replace(",", " ").split()
    if {extra, "all"} & set(named):
        pytest.fail(reason)
    pytest.skip(reason)
