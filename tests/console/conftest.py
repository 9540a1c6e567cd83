"""One console for each module, and stores that tests fill for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.console.browser import Browser, browser, missing
from tests.console.page import WATCHING, console
from tests.harness import opened_store


@pytest.fixture(scope="module")
def page_state(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The state folder that the console reads."""
    return str(tmp_path_factory.mktemp("page"))


@pytest.fixture(scope="module")
def page(page_state: str) -> Iterator[str]:
    """The address that `waha-mcp console` prints."""
    with console(page_state) as address:
        yield address


@pytest.fixture(scope="module")
def any_window(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("profile")) as window:
        window.before_each_page(WATCHING)
        yield window


@pytest.fixture
def window(request: pytest.FixtureRequest) -> Iterator[Browser]:
    """A browser window in the light scheme; a violation of a page's security policy fails the test."""
    if missing():
        pytest.skip(str(missing()))
    window: Browser = request.getfixturevalue("any_window")
    window.show_as(860)
    yield window
    assert window.run("return window.stopped || []") == []
    window.open("about:blank")


@pytest.fixture(autouse=True)
def nothing_waits(
    request: pytest.FixtureRequest, state_home: None, page_state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The test's questions and trails are put where the console reads them, and others removed."""
    if "page" not in request.fixturenames:
        return
    monkeypatch.setenv("XDG_STATE_HOME", page_state)
    store = opened_store()
    for table in ("question", "task_grant"):
        for row in store.rows(table):
            store.swap(table, row.key, row.value, None)
    for trail in Path(page_state).glob("waha-mcp/*/trail.jsonl*"):
        trail.unlink()
