"""The console in tests: its server, its fragments, and questions for it."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urlsplit

import httpx

from tests.console.browser import Browser
from tests.harness import approvals_of, command_after, environment, opened_store
from waha_mcp.app.policy_fields import LIFETIME
from waha_mcp.policy.approval import Entry
from waha_mcp.policy.audit import trail_file
from waha_mcp.policy.question import File, Question
from waha_mcp.store import put

PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)
#: Requests that do not come from the page, and the status that they get.
WRONG: dict[str, tuple[dict[str, str | None], int]] = {
    "no token": ({"X_Console_Token": None}, 403),
    "another token": ({"X_Console_Token": "x" * 32}, 403),
    "a name that was bound to this address": ({"Host": "evil.example:80"}, 421),
    "the address without its port": ({"Host": "127.0.0.1"}, 421),
    "another site": ({"Origin": "https://evil.example"}, 403),
    "a page without origin": ({"Origin": "null"}, 403),
}
#: Records what the page's security policy has blocked, in `window.stopped`.
WATCHING = """
window.stopped = [];
document.addEventListener("securitypolicyviolation", event =>
  stopped.push(`${event.effectiveDirective}: ${event.blockedURI} ${event.sample}`));
"""


def click_once(happened: str, selector: str) -> str:
    """A script that clicks like a mouse when a condition of the page becomes true; sets `window.clicked`."""
    return f"""
new MutationObserver((_, observer) => {{
  if (!(() => {{ {happened} }})()) return;
  observer.disconnect();
  document.querySelector({selector!r}).dispatchEvent(new MouseEvent("click", CLICK));
  window.clicked = true;
}}).observe(document.querySelector("main"), {{ subtree: true, childList: true, attributes: true }});
""".replace("CLICK", "{ detail: 1, bubbles: true, cancelable: true }")


@contextmanager
def console(state: str, *arguments: str, first: str = "", **env: str) -> Iterator[str]:
    """The address that `waha-mcp console` prints. `state`: the state folder that it reads. `first`: `command_after`."""
    command, env = [*command_after(first), "console", *arguments], environment(XDG_STATE_HOME=state, **env)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) as process:
        assert process.stdout is not None
        found = re.search(r"http://127\.0\.0\.1:\d+/#\S+", process.stdout.readline() + process.stdout.readline())
        assert found
        try:
            yield found[0]
        finally:
            process.terminate()


class Caller:
    """Valid requests to the console's server, except for what a case changes."""

    def __init__(self, address: str) -> None:
        parts = urlsplit(address)
        self._base, self._token = f"http://{parts.netloc}", parts.fragment
        self._headers = {"X-Console-Token": self._token, "Origin": self._base}

    def __call__(
        self, method: str, path: str, form: Mapping[str, str] | None = None, /, **changes: str | None
    ) -> httpx.Response:
        headers = {k: v for k, v in (self._headers | {k.replace("_", "-"): v for k, v in changes.items()}).items() if v}
        return httpx.request(method, self._base + path, headers=headers, data=form)

    def decide(self, entry: Entry, decision: str, **changes: str | None) -> httpx.Response:
        return self("POST", f"/views/waiting/{decision}", {"id": entry.id}, **changes)

    def questions(self) -> list[Shown]:
        """The questions in the view."""
        return questions_in(self("GET", "/views/waiting").raise_for_status().text)


def wait_for(
    text: str = "The quote is 1,240 for both rooms.",
    digest: str = "d1",
    who: str = "Maya",
    open_to: Mapping[str, str] | None = None,
    **more: Any,
) -> Entry:
    """Put a question where the console finds it. `open_to`: for whom an approval may open a task grant."""
    fields: dict[str, Any] = {
        "app": "assistant",
        "tool": "send_text",
        "title": "Send a text",
        "recipients": (f"{who} (+447700900142)",),
        "content": {"text": text},
        "digest": digest,
        "expires": time.time() + LIFETIME,
        "open_to": open_to or {},
        "identity": "assistant/key",
    }
    return approvals_of("assistant").ask(Question(**fields | more))


def wait_with(*files: tuple[str, bytes], digest: str = "f") -> Entry:
    """Put a question about files where the console finds it."""
    records = tuple(File.of("path", name, content) for name, content in files)
    asked = Question(
        "assistant", "send_media", "Send media", ("Maya",), {}, digest, time.time() + LIFETIME, files=records
    )
    return approvals_of("assistant").ask(asked, [content for _, content in files])


def add_line(app_id: str = "assistant", /, **fields: Any) -> None:
    """Write a line into the trail of an App."""
    line = {"time": "2026-11-26T15:00:00.000+00:00", "tool": "send_text", "decision": "allowed", "outcome": "done"}
    trail_file(app_id).append(json.dumps(line | fields))


def add_client(app_id: str, name: str) -> None:
    """Record a client of an App's server, which stays connected until the test ends."""
    store, now = opened_store(), time.time()
    client = {"name": name, "over": "stdio", "since": now, "seen": now}
    row = {"feed": "polling", "why": name, "clients": [client]}
    put(store, "presence", f"{app_id}/{store.process}/{len(store.rows('presence'))}", json.dumps(row))


def open_page(window: Browser, address: str) -> None:
    """Open a page of the console again, with a record of what its policy blocks."""
    window.open("about:blank")
    window.open(address)


# The content of a fragment


@dataclass
class Element:
    tag: str
    attributes: dict[str, str] = field(default_factory=dict)
    children: list[Element | str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(each if isinstance(each, str) else each.text for each in self.children)

    def all(self, tag: str, name: str = "") -> list[Element]:
        """The descendants with this tag, and class."""
        found: list[Element] = []
        for each in self.children:
            if isinstance(each, Element):
                if each.tag == tag and (not name or name in each.attributes.get("class", "").split()):
                    found.append(each)
                found += each.all(tag, name)
        return found


class _Parser(HTMLParser):
    _VOID = ("img", "input", "br", "meta", "link")

    def __init__(self) -> None:
        super().__init__()
        self.root = Element("")
        self._open = [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {name: value or "" for name, value in attrs})
        self._open[-1].children.append(element)
        if tag not in self._VOID:
            self._open.append(element)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop().tag == tag, f"</{tag}> closes something else"

    def handle_data(self, data: str) -> None:
        self._open[-1].children.append(data)


def parsed(html: str) -> Element:
    """The elements of a fragment, each of which must be closed."""
    parser = _Parser()
    parser.feed(html)
    parser.close()
    assert parser._open == [parser.root]
    return parser.root


@dataclass(frozen=True)
class Shown:
    """A question as the view shows it. `files`: (name, how) of each with a copy."""

    id: str
    meta: str
    head: str
    lines: list[tuple[str, str]]
    files: list[tuple[str, str]]
    window: str | None


def questions_in(html: str) -> list[Shown]:
    """The questions of the fragment."""
    return [_shown(card) for card in parsed(html).all("article")]


def _shown(card: Element) -> Shown:
    rows = [row for row in card.all("dl")[0].all("div") if row.all("dt")]
    lines = [(row.all("dt")[0].text, _text(row)) for row in rows]
    files = [(image.attributes["alt"], "image") for image in card.all("img")]
    files += [(sound.attributes["aria-label"], "sound") for sound in card.all("audio")]
    heard = {name for name, _ in files}
    saved = [button.attributes["data-name"] for button in card.all("button", "file")]
    files += [(name, "other") for name in saved if name not in heard]
    window = card.all("form")[0].all("p", "hint")
    return Shown(
        card.attributes["data-id"],
        " ".join(card.all("p", "meta")[0].text.split()),
        card.all("h2")[0].text,
        lines,
        files,
        window[0].text.removeprefix("“Allow for a while”: this, and ").removesuffix(".") if window else None,
    )


def _text(row: Element) -> str:
    """The text of a line; where it is shown as its recipients see it, which may differ, the text as written."""
    return (row.all("div", "text") or row.all("dd", "text") or row.all("div", "bubble"))[0].text
