"""`--tool NAME`: what the tests say of one tool, in a minute instead of the hour that they take for all.

Of a test that is repeated for each tool or operation, the cases of this tool and its operations. Of a test that goes
through all of them by itself (marked `tools`), what concerns this one: it asks `rows.chosen`.
"""

from __future__ import annotations

import pytest

from tests.contract import rows
from waha_mcp.tools.catalog import CATALOG, Tool


def offer(parser: pytest.Parser) -> None:
    """The option."""
    parser.addoption("--tool", metavar="NAME", help="only what the tests say of this tool")


def chosen(config: pytest.Config) -> None:
    """Note the tool that the option names.

    Raises:
        UsageError: there is none.
    """
    rows.only = config.getoption("--tool")
    if rows.only is not None and rows.only not in CATALOG:
        raise pytest.UsageError(
            f"There is no tool {rows.only}. The module of a tool stands under its toolset in "
            "waha_mcp/tools/toolsets.py; tests/tools/test_catalog.py says which line is missing."
        )


def choose(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect what says nothing of the tool."""
    if rows.only is None:
        return
    left_out = [item for item in items if not _about(item, rows.only)]
    items[:] = [item for item in items if _about(item, rows.only)]
    config.hook.pytest_deselected(items=left_out)


def _about(item: pytest.Item, name: str) -> bool:
    repeated_for = list(item.callspec.params.values()) if hasattr(item, "callspec") else []
    tool = CATALOG[name]
    if any(each is tool or each == name or each in tool.calls for each in repeated_for if isinstance(each, str | Tool)):
        return True
    if any(isinstance(each, Tool) for each in repeated_for):
        return False
    return item.get_closest_marker("tools") is not None
