"""`--tool NAME`: the tests of one tool, in a minute instead of an hour for all.

Of a test that is repeated for each tool or operation, the cases of this tool and its operations. Of a test that goes
through all of them by itself (marked `tools`), what concerns this one: it asks `rows.chosen`.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.contract import rows
from waha_mcp.tools import toolsets
from waha_mcp.tools.catalog import CATALOG, Tool

#: How `@tool(...)` names a toolset; without one it is core.
_DECORATED = re.compile(r"^@tool\((.*?)^(?:async )?def ", re.DOTALL | re.MULTILINE)


def offer(parser: pytest.Parser) -> None:
    """The option."""
    parser.addoption("--tool", metavar="NAME", help="only what the tests say of this tool")


def chosen(config: pytest.Config) -> None:
    """Keep the tool that the option names.

    Raises:
        UsageError: there is none.
    """
    rows.only = config.getoption("--tool")
    if rows.only is not None and rows.only not in CATALOG:
        raise pytest.UsageError(f"There is no tool {rows.only}. {unlisted()}".strip())


def unlisted() -> str:
    """What to write into toolsets.py so that a start-up loads every module with tools; empty: nothing."""
    folder = Path(toolsets.__file__).parent
    lines = []
    for path in sorted(folder.rglob("*.py")):
        module = ".".join(path.relative_to(folder).with_suffix("").parts)
        named = [re.search(r'toolset="(\w+)"', found) for found in _DECORATED.findall(path.read_text(encoding="utf-8"))]
        for toolset in sorted({each[1] if each else "core" for each in named}):
            modules = toolsets._MODULES.get(toolset, ())
            if module not in modules:
                row = ", ".join(f'"{each}"' for each in (*modules, module)) + ("" if modules else ",")
                lines.append(f'    "{toolset}": ({row}),')
    return "\n".join(["Write into _MODULES in waha_mcp/tools/toolsets.py:", *lines]) if lines else ""


def choose(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect what does not concern the tool."""
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
