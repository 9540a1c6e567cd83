"""axe-core, which finds accessibility problems of a page. It is installed from npm, once."""

from __future__ import annotations

import functools
from typing import Any

import pytest

from tests.clients_real.environments import NotInstalled, node_environment
from tests.console.browser import Browser

AXE = "axe-core@4.11.0"


@functools.cache
def axe() -> str:
    """The source of axe.

    Raises:
        NotInstalled: it cannot be installed here.
    """
    return (node_environment([AXE]) / "node_modules/axe-core/axe.min.js").read_text(encoding="utf-8")


def violations(window: Browser) -> list[str]:
    """What axe finds in the page that a window shows: each rule, and where it is broken.

    The test is skipped if axe cannot be installed.
    """
    try:
        window.run(axe())
    except NotInstalled as why:
        pytest.skip(f"{AXE} cannot be installed: {why}")
    found: list[dict[str, Any]] = window.run(
        "return axe.run(document, {resultTypes: ['violations', 'incomplete']}).then(found => found.violations)"
    )
    return [f"{each['id']}: {each['help']}: {node['html']}" for each in found for node in each["nodes"]]
