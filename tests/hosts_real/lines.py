"""The lines of the page: checks of a host's day. Each raises AssertionError if it fails."""

from __future__ import annotations

import re
from collections.abc import Callable

from pydantic import SecretStr

from tests.hosts_real.hosts import NEEDED
from tests.hosts_real.model import CLOSING
from tests.hosts_real.wires import Shown
from tests.hosts_real.world import AFTER_CONSOLE, AFTER_YES, DENIED, ONCE, TOO_LATE, Day, Session
from waha_mcp.app.actions import Grant
from waha_mcp.app.definition import App
from waha_mcp.server.instructions import instructions as server_instructions
from waha_mcp.tools.catalog import CATALOG

#: A line, by its name in the records of hosts: its title on the page, and its check.
LINES: dict[str, tuple[str, Callable[[Day], None]]] = {}


def line(title: str) -> Callable[[Callable[[Day], None]], Callable[[Day], None]]:
    def put(check: Callable[[Day], None]) -> Callable[[Day], None]:
        LINES[check.__name__] = (title, check)
        return check

    return put


def shown(session: Session, step: str) -> Shown:
    """The result of a step."""
    result = session.results[step]
    assert result is not None, f"no result of '{step}' in the model's request; {session.missing}; {session.said[-500:]}"
    return result


@line("The host's own listing accepts what `waha-mcp install` wrote")
def listing(day: Day) -> None:
    assert "whatsapp" in day.listing
    assert day.accepted in day.listing


@line("Passes the key on from the user's environment, for an App that has it there")
def key(day: Day) -> None:
    assert "approv" in shown(day.console, "asked").text


@line("Tools come with every description")
def descriptions(day: Day) -> None:
    for name in NEEDED:
        tool = CATALOG[name]
        assert name in day.tools
        texts = [tool.description, *(each["description"] for each in tool.input_schema["properties"].values())]
        assert [text for text in texts if text not in day.tools] == []


@line("The server's instructions reach the model")
def instructed(day: Day) -> None:
    *_, last = server_instructions(App(key=SecretStr("made-up")), Grant()).splitlines()
    assert last in day.main.texts


@line("Lists chats")
def chats(day: Day) -> None:
    text = shown(day.main, "list").text
    assert all(name in text for name in ("Maya Lindqvist", "Project Kestrel", "Swift Parcels"))
    assert "could you?" in text


@line("Reads a chat")
def read(day: Day) -> None:
    text = shown(day.main, "read").text
    assert "Heard it, sounds good" in text
    assert "Ping me any time" in text


@line("Shows a result once")
def once(day: Day) -> None:
    assert shown(day.main, "read").text.count("Heard it, sounds good") == 1


@line("A picture reaches the model")
def picture(day: Day) -> None:
    assert "image" in shown(day.main, "picture").text
    assert day.picture.data in [each.data for each in day.main.attachments if each.type.startswith("image/")]


@line("A voice note: its kind and length")
def voice(day: Day) -> None:
    text = shown(day.main, "voice").text
    assert "voice" in text
    assert re.search(r"\b7\b", text)


@line("A voice note: the sound")
def sound(day: Day) -> None:
    shown(day.main, "voice")
    assert day.voice.data in [each.data for each in day.main.attachments if "audio" in each.type]


@line("Sends, once")
def send(day: Day) -> None:
    assert "Sam Okafor" in shown(day.main, "send").text
    assert day.delivered[ONCE] == 1


@line("A denied recipient gets nothing, and the model is told why")
def refused(day: Day) -> None:
    assert "may not write" in shown(day.main, "refused").text
    assert day.delivered[DENIED] == 0


@line("A send that needs approval: not sent before it, and the model is told where the user approves")
def asked(day: Day) -> None:
    for session in (day.main, day.console):
        assert "waha-mcp console" in shown(session, "asked").text
    assert day.before_yes == 0


@line("A send that needs approval: sent once after it")
def approval(day: Day) -> None:
    assert "Maya Lindqvist" in shown(day.main, "approved").text
    assert day.delivered[AFTER_YES] == 1


@line('A send that needs approval, with `ask_at = "console"`: sent once after it')
def console(day: Day) -> None:
    assert "Maya Lindqvist" in shown(day.console, "approved").text
    assert day.delivered[AFTER_CONSOLE] == 1


@line("An action withdrawn while it runs: nothing is done, and the model is told why")
def revoked(day: Day) -> None:
    assert "not granted" in shown(day.main, "revoked").text
    assert day.delivered[TOO_LATE] == 0


@line("Its tools are gone, or say so when called")
def withdrawn(day: Day) -> None:
    shown(day.main, "after")
    again = day.main.results["again"]
    assert (again is None and day.main.missing == ["send_text"]) or re.search(
        "no longer available|No such tool available|not found", shown(day.main, "again").text
    )


@line("The session continues to its end")
def to_the_end(day: Day) -> None:
    assert "Maya Lindqvist" in shown(day.main, "after").text
    assert CLOSING in day.main.said or day.main.missing == ["send_text"]
    assert day.main.code == 0


@line("Nothing tries to leave the machine")
def inside(day: Day) -> None:
    assert day.main.outward + day.console.outward == []
