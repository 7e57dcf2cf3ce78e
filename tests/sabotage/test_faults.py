"""Every wiring fault costs what it should and is caught by the test that it names."""

from __future__ import annotations

import pytest
import table
from faults import FAULTS, Fault


@pytest.fixture(scope="module")
def caught() -> dict[str, str | None]:
    """The test that failed under each fault."""
    return table.caught(FAULTS)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_is_caught_by_its_test(fault: Fault, caught: dict[str, str | None]) -> None:
    """With the fault applied, the contract's test fails; without it, it passes."""
    found = caught[fault.name]
    assert found is not None
    assert found.startswith(fault.test)


@pytest.mark.filterwarnings("ignore::qwen_retrieval.errors.TruncationWarning")
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_shows_in_the_results(fault: Fault) -> None:
    """Ranking quality falls by at least 0.03, or a result is off by at least 1e-4."""
    if fault.shows == "nDCG@10":
        right, wrong = table.qualities(fault)
        assert right - wrong >= table.LEAST_FALL
    else:
        assert table.largest_error(fault) >= table.LEAST_ERROR
