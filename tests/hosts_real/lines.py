"""The lines of the page: what must be so of a host's day. Each raises AssertionError where it is not."""

from __future__ import annotations

from collections.abc import Callable

from tests.hosts_real.model import CLOSING
from tests.hosts_real.wires import Shown
from tests.hosts_real.world import TO_DAD, TO_MAYA, TO_SAM, Day

#: A line, by its name in records, with its title on the page.
LINES: dict[str, tuple[str, Callable[[Day], None]]] = {}


def line(title: str) -> Callable[[Callable[[Day], None]], Callable[[Day], None]]:
    def put(check: Callable[[Day], None]) -> Callable[[Day], None]:
        LINES[check.__name__] = (title, check)
        return check

    return put


def shown(day: Day, step: str) -> Shown:
    """The result of a step."""
    result = day.results[step]
    assert result is not None, f"the model saw no result of '{step}'; not offered: {day.missing}; {day.said[-500:]}"
    return result


@line("`waha-mcp install` writes an entry that the host's own listing accepts")
def listing(day: Day) -> None:
    assert "whatsapp" in day.listing
    assert day.accepted in day.listing, day.listing


@line("The tools are there in the first turn")
def at_once(day: Day) -> None:
    assert not day.missing
    assert {"list_chats", "get_messages", "send_text"} <= day.first_named


@line("Every property keeps its description")
def descriptions(day: Day) -> None:
    ours = [tool for name, tool in day.offered.items() if name.endswith(("get_messages", "get_media", "send_text"))]
    assert len(ours) == 3
    for tool in ours:
        assert tool.description
        assert all(each.get("description") for each in tool.schema["properties"].values())


@line("It lists chats")
def chats(day: Day) -> None:
    text = shown(day, "list").text
    assert all(name in text for name in ("Maya Lindqvist", "Project Kestrel", "Swift Parcels"))
    assert "ask Sam whether he wants to join" in text


@line("It reads a chat")
def read(day: Day) -> None:
    text = shown(day, "read").text
    assert "Heard it, sounds good" in text
    assert "Ping me any time" in text


@line("A picture reaches the model")
def picture(day: Day) -> None:
    assert "Maya Lindqvist" in shown(day, "picture").text
    assert day.picture.data in [each.data for each in day.attachments if each.type.startswith("image/")]


@line("A voice note's facts reach the model")
def voice_facts(day: Day) -> None:
    text = shown(day, "voice").text
    assert "Sam Okafor" in text
    assert "voice" in text


@line("A voice note's sound reaches the model")
def voice(day: Day) -> None:
    assert day.voice.data in [each.data for each in day.attachments if "audio" in each.type]


@line("It sends, once")
def send(day: Day) -> None:
    assert not shown(day, "send").error
    assert "Sam Okafor" in shown(day, "send").text
    assert day.delivered[TO_SAM] == 1


@line("A denied recipient is refused, and the model is told why")
def refused(day: Day) -> None:
    assert "may not write" in shown(day, "refused").text
    assert day.delivered[TO_DAD] == 0


@line("A call that needs a yes waits for it, and is made once after it")
def approval(day: Day) -> None:
    assert "approv" in shown(day, "asked").text.lower()
    assert "Maya Lindqvist" in shown(day, "approved").text
    assert day.delivered[TO_MAYA] == 1


@line("A call with an action that was taken away is refused, and the model is told why")
def revoked(day: Day) -> None:
    text = shown(day, "revoked").text
    assert "not granted" in text or "not available" in text, text
    assert day.delivered["Too late"] == 0


@line("The tools of an action that was taken away are no longer offered")
def withdrawn(day: Day) -> None:
    shown(day, "after")
    assert not [name for name in day.offered_last if name.endswith("send_text")]
    if sought := day.results.get("sought"):
        assert "get_messages" in sought.text
        assert "send_text" not in sought.text


@line("What it can still do goes on")
def goes_on(day: Day) -> None:
    assert not shown(day, "after").error
    assert "Maya Lindqvist" in shown(day, "after").text
    assert CLOSING in day.said
    assert day.code == 0


@line("Nothing tries to leave the machine")
def inside(day: Day) -> None:
    assert not day.outward
