"""Layout and use of the views: on a phone, in light and dark, with hostile texts, and checked by axe."""

from __future__ import annotations

import base64
from collections.abc import Callable

import pytest

from tests.console.axe import violations
from tests.console.browser import Browser
from tests.console.page import add_client, add_line, open_page, wait_for, wait_with
from tests.harness import opened_store
from tests.policy.common import HOSTILE
from waha_mcp.console.views import VIEWS
from waha_mcp.policy import task_grants

LONG = "Donaudampfschifffahrtsgesellschaftskapitänswitwe" * 8
TEMPLATE = "{{7*1234567}}{% for x in y %}${7*1234567}<%= 7*1234567 %>"
DOT = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
MAYA = {"447700900142@c.us": "Maya (+447700900142)"}


def ordinary() -> None:
    """The data of one day, in every view."""
    wait_for("*Hello* Maya", open_to=MAYA, why=("the App asks before every change",))
    wait_for(content={"text": "At eight", "what reply_to says": "When?"}, digest="d2")
    wait_with(("dot.png", DOT), ("hello.mp3", b"ID3"), ("quote.pdf", b"%PDF-1.7"))
    for number, outcome in enumerate(("done", "refused", "unknown", "failed", "waiting", "begun")):
        add_line(call=f"c{number}", chats=["447700900142@c.us"], client="one 1.0", outcome=outcome, ms=number)
    add_line("on_call", call="b1", tool="get_messages")
    task_grants.give(opened_store(), "assistant/key", MAYA)
    add_client("assistant", "one 1.0")


def hostile() -> None:
    """Names and texts that try to be more than text."""
    for number, text in enumerate([*HOSTILE, TEMPLATE, LONG]):
        wait_for(
            text,
            f"d{number}",
            text,
            {"447700900142@c.us": text},
            app="assistant",
            tool=text[:40],
            why=(text,),
            chats=(str(number),),
        )
        # A trail is written as UTF-8, which has no surrogates.
        said = text.replace("\ud800", "")
        names = dict.fromkeys(("client", "tool", "decision", "outcome", said[:30]), said)
        add_line(**names | {"call": f"c{number}", "chats": [said]})
        task_grants.give(opened_store(), "assistant/key", {f"1202555010{number}@c.us": said})
        add_client("assistant", text)
    wait_with((f"{LONG}<script>.png", DOT), (f"\u202e{TEMPLATE}.exe", b"MZ"))


WORLDS: dict[str, Callable[[], None]] = {"ordinary": ordinary, "hostile": hostile, "empty": lambda: None}


@pytest.fixture(params=WORLDS)
def world(request: pytest.FixtureRequest, page: str) -> str:
    WORLDS[request.param]()
    return str(request.param)


def shown(window: Browser, page: str, view: str) -> None:
    """Open a view and wait until it is loaded."""
    open_page(window, page.replace("/#", f"/{view}#"))
    window.until("return document.querySelector('main h1')?.textContent !== 'waha-mcp'")
    window.until("return [...document.images].every(each => each.complete && each.src)")


@pytest.mark.parametrize("view", [view.name for view in VIEWS])
@pytest.mark.parametrize("width", [360, 860])
def test_nothing_scrolls_sideways(view: str, width: int, world: str, page: str, window: Browser) -> None:
    window.show_as(width)
    shown(window, page, view)
    window.run("for (const each of document.querySelectorAll('details')) each.open = true")
    assert window.run("return document.documentElement.scrollWidth") <= width
    beyond = (
        "return [...document.querySelectorAll('body *')].filter(each => each.id !== 'news' &&"
        " each.getBoundingClientRect().right > innerWidth + 1).map(each => each.outerHTML.slice(0, 200))"
    )
    assert window.run(beyond) == []


@pytest.mark.parametrize("view", [view.name for view in VIEWS])
def test_names_and_texts_are_texts_and_nothing_more(view: str, page: str, window: Browser) -> None:
    hostile()
    shown(window, page, view)
    text = window.text()
    assert TEMPLATE in text
    assert str(7 * 1234567) not in text
    assert "<script>" in text
    assert window.run("return document.querySelectorAll('script').length") == 1
    assert not set(text) & set("\u202e\u202c\u2066\u2069\u200b\u2060\ufeff\u00ad\x1b\x07")
    assert window.run("return document.title").endswith("waha-mcp")
    assert window.run("return [...document.querySelectorAll('main b, main script, main [onerror]')].length") == 0
    own = page.partition("/#")[0]
    asked = window.run("return performance.getEntriesByType('resource').map(each => each.name)")
    assert asked
    assert not [url for url in asked if not url.startswith((own, f"blob:{own}"))]


@pytest.mark.parametrize("view", [view.name for view in VIEWS])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [360, 860])
def test_axe_finds_nothing(view: str, dark: bool, width: int, page: str, window: Browser) -> None:
    ordinary()
    window.show_as(width, dark=dark)
    shown(window, page, view)
    window.run("for (const each of document.querySelectorAll('details')) each.open = true")
    scheme = window.run("return getComputedStyle(document.body).backgroundColor")
    assert (scheme == "rgb(16, 20, 18)") is dark
    assert violations(window) == []


def test_axe_finds_what_is_wrong(page: str, window: Browser) -> None:
    shown(window, page, "waiting")
    window.run("document.querySelector('main').append(document.createElement('input'))")
    assert any(each.startswith("label:") for each in violations(window))
