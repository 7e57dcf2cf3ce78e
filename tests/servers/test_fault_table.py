"""Every fault ends in the right result or in one clear error, in time, and breaks nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from servers import table
from servers.faults import FAULTS, Fault

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "faults.md"


@pytest.fixture(scope="module")
def rows() -> list[table.Row]:
    """What the clients of the representative engines made of all faults."""
    return table.rows()


def test_the_documentation_holds_the_table(rows: list[table.Row]) -> None:
    """Printed by ``python tests/servers/table.py --markdown``."""
    assert table.markdown(rows) in PAGE.read_text(encoding="utf-8")


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_a_fault_ends_in_the_right_result_or_one_clear_error(
    rows: list[table.Row], fault: Fault
) -> None:
    """Never a wrong, lost, doubled or reordered item; no call outlives its timeout."""
    found = [row for row in rows if row.fault is fault]
    assert found
    complaints = [
        f"{row.engine} {row.kind} {row.way}: {complaint}"
        for row in found
        for complaint in row.complaints()
    ]
    assert not complaints, "\n".join(complaints)
