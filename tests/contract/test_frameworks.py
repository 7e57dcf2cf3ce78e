"""What is tested at all, and what is said when a framework or the servers' extra is missing."""

from __future__ import annotations

import subprocess
import sys

import pytest

from .frameworks import FRAMEWORKS, INSTALLED, REQUIRE, Framework, required

by_name = pytest.mark.parametrize("framework", FRAMEWORKS, ids=lambda each: each.name)


@by_name
def test_a_required_framework_is_installed(framework: Framework) -> None:
    """Nothing is left out where the environment says that it must be there."""
    if framework.name in required():
        assert framework in INSTALLED, f"{REQUIRE} names {framework.name}; install its extra"


def test_the_environment_names_frameworks_that_exist() -> None:
    """A misspelt name requires nothing, which nobody would notice."""
    assert required() <= {each.name for each in FRAMEWORKS}


@by_name
def test_a_missing_framework_is_named_with_its_pip_command(framework: Framework) -> None:
    """Promise 8: what needs a framework that is missing says what to install."""
    for use in framework.uses:
        program = f"import sys; sys.modules[{framework.package!r}] = None; {use}"
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=False
        )
        assert done.returncode == 1, use
        last = done.stderr.strip().splitlines()[-1]
        assert last.startswith("ImportError: "), done.stderr
        assert f"pip install 'qwen-retrieval[{framework.extra}]'" in last
