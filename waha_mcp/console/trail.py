"""The view of what agents did: the trails of the Apps that are visible, newest first."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from hashlib import sha256
from itertools import groupby
from typing import Any
from urllib.parse import urlencode

from waha_mcp.console.pages import rendered
from waha_mcp.console.sight import Sight
from waha_mcp.console.view import Fields, View
from waha_mcp.policy.audit import BEGUN, parsed
from waha_mcp.policy.trail_search import OUTCOMES, Page, Wanted, alive_in, page_of
from waha_mcp.store import in_thread
from waha_mcp.whatsapp.untrusted import reveal

#: Decisions to choose from beside the outcomes.
_DECISIONS = ("approved", "allowed by a task grant", "declined at the client", "not offered")
#: Fields of a line that stand elsewhere in its row, or say nothing to a person.
_SHOWN_APART = ("time", "call", "tool", "chats", "client", "decision", "outcome", "ms", "digest", "process")
#: Most characters that are shown of a field: arguments may be long, and the page is asked for all the time.
MOST_SHOWN = 2_000


@dataclass(frozen=True)
class Row:
    """A line of a trail as it is shown; all texts are revealed. `outcome`: as in the trail; `arguments`: as JSON."""

    id: str
    app: str
    moment: datetime | None
    title: str
    chats: list[tuple[str, str]]
    client: str
    decision: str
    outcome: str
    #: How long, in words.
    took: str
    #: The other fields, by name.
    more: Mapping[str, str]

    @property
    def day(self) -> str:
        """The day's heading."""
        return "" if self.moment is None else f"{self.moment:%A, %d %B %Y}"

    @property
    def under_way(self) -> bool:
        """Whether it has begun and not ended."""
        return self.outcome == BEGUN


async def _render(sight: Sight, query: Fields) -> str:
    return await in_thread(rendered_trail, sight, query)


def rendered_trail(sight: Sight, query: Fields) -> str:
    """The fragment with the lines that a query asks for: `app`, the fields of `Wanted`, and `before`."""
    apps = sight.app_ids()
    asked = {name: query.get(name, "") for name in ("chat", "tool", "outcome")}
    app = query.get("app", "")
    problem, page = "", Page([], None)
    try:
        with sight.opened() as store:
            shown = [each for each in apps if app in ("", each)]
            page = page_of(shown, Wanted(**asked), partial(alive_in, store), query.get("before", ""))
    except OSError as error:
        problem = f"The trail cannot be read: {error.strerror or error}."
    rows = [_row(of, line) for of, line in page.lines]
    return rendered(
        "trail.html",
        days=[(day, list(each)) for day, each in groupby(rows, key=lambda row: row.day)],
        apps=apps if sight.only is None else [],
        app=app,
        asked=asked,
        filtered=bool(app or any(asked.values())),
        before=query.get("before", ""),
        outcomes=OUTCOMES,
        choices=_choices(asked["outcome"]),
        newest=_query(asked, app, ""),
        older=None if page.older is None else _query(asked, app, page.older),
        chosen=lambda name, value: _query(asked | {name: value}, app, ""),
        problem=problem,
    )


def _choices(outcome: str) -> list[str]:
    known = [*OUTCOMES, *_DECISIONS]
    return known if outcome in ("", *known) else [*known, outcome]


def _query(asked: Mapping[str, str], app: str, before: str) -> str:
    fields = {**asked, "app": app, "before": before}
    return f"?{urlencode({name: value for name, value in fields.items() if value}, errors='replace')}"


def _row(app: str, line: str) -> Row:
    entry = parsed(line)
    call = entry.get("call")
    name = call if isinstance(call, str) and call.isalnum() else sha256(line.encode(errors="replace")).hexdigest()[:12]
    chats = entry.get("chats")
    return Row(
        f"call-{app}-{name}",
        app,
        _moment(entry.get("time")),
        _text(entry.get("tool") or entry.get("client") or "a line that cannot be read"),
        [(str(chat), _chat(str(chat))) for chat in chats] if isinstance(chats, list) else [],
        _text(entry.get("client")) if entry.get("tool") else "",
        _text(entry.get("decision")),
        _text(entry.get("outcome")),
        _took(entry.get("ms")),
        dict(_more(entry)),
    )


def _more(entry: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in entry.items():
        if name not in _SHOWN_APART:
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            rest = "" if len(text) <= MOST_SHOWN else f" … and {len(text) - MOST_SHOWN:,} characters more"
            yield reveal(name), reveal(text[:MOST_SHOWN]) + rest


def _text(value: Any) -> str:
    return "" if value is None else reveal(str(value))


def _took(milliseconds: Any) -> str:
    if not isinstance(milliseconds, int | float):
        return ""
    return f"{milliseconds / 1000:.1f} s" if milliseconds >= 1000 else f"{milliseconds:.0f} ms"


def _chat(chat: str) -> str:
    """A chat's id, or a person's number as people write it."""
    number, _, kind = chat.partition("@")
    return f"+{number}" if kind == "c.us" and number.isdecimal() else reveal(chat)


def _moment(value: Any) -> datetime | None:
    """A time of the trail in this machine's time zone."""
    try:
        return datetime.fromisoformat(str(value)).astimezone()
    except (ValueError, OverflowError, OSError):
        return None


TRAIL = View("trail", "Trail", _render)
