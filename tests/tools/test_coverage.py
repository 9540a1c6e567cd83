"""Coverage as data: every operation of WAHA is called by a tool, or is listed as not mapped, with a reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from waha_mcp.sandbox.contract import contract
from waha_mcp.tools.catalog import CATALOG, Tool
from waha_mcp.tools.not_mapped import REASONS, entries

OPERATIONS = {str(operation): operation for operation in contract().operations}
MAPPED = {call for tool in CATALOG.values() for call in tool.calls}
NOT_MAPPED = {operation: (reason, instead) for operation, reason, instead in entries()}


#: The file with the operations that have no tool.
FILE = "waha_mcp/tools/not_mapped.py"
ENTRY = '("server-internal", "what it is for", ["{}"]),'


def _line(operation: str) -> str:
    """The line of an operation in that file."""
    lines = (Path(__file__).parents[2] / FILE).read_text(encoding="utf-8").splitlines()
    found = next((number for number, line in enumerate(lines, 1) if f'"{operation}"' in line), None)
    return FILE if found is None else f"{FILE}:{found}"


@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_operation_is_called_by_a_tool_or_left_out_for_a_reason_and_never_both(operation: str) -> None:
    callers = [tool.name for tool in CATALOG.values() if operation in tool.calls]
    if callers:
        assert operation not in NOT_MAPPED, f'{callers[0]} calls it: delete "{operation}" in {_line(operation)}'
    else:
        assert operation in NOT_MAPPED, f"no tool calls it: write one, or into {FILE}: {ENTRY.format(operation)}"


@pytest.mark.tools
def test_nothing_is_left_out_that_there_is_not_or_twice() -> None:
    listed = [operation for operation, _, _ in entries()]
    assert len(listed) == len(NOT_MAPPED)
    assert NOT_MAPPED.keys() <= OPERATIONS.keys()


@pytest.mark.parametrize("operation", NOT_MAPPED)
def test_the_reason_is_one_of_the_list_and_fits_the_operation(operation: str) -> None:
    reason, instead = NOT_MAPPED[operation]
    assert reason in REASONS
    assert instead
    found = OPERATIONS[operation]
    assert (reason == "deprecated") is found.deprecated
    assert (reason == "admin-only") is (found.action in ("admin", "create"))
    if reason in ("deprecated", "superseded"):
        assert set(instead.split(" and ")) <= MAPPED, f"{_line(operation)} names what no tool calls"


@pytest.mark.parametrize("tool", CATALOG.values(), ids=CATALOG)
def test_a_tool_demands_the_action_that_waha_demands_for_each_operation_it_calls(tool: Tool) -> None:
    assert tool.calls
    assert len(set(tool.calls)) == len(tool.calls)
    # Operations that WAHA opens to every session's key need no action.
    allowed = {"list", "server"} | ({tool.action.value} if tool.action is not None else set())
    for call in tool.calls:
        assert call in OPERATIONS, f"WAHA has no operation {call}"
        assert OPERATIONS[call].action in allowed, f"{call} needs the action {OPERATIONS[call].action}"
