"""Which calls the repeat guard treats as equal: those that look the same to the recipient, in any spelling."""

from __future__ import annotations

import base64
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from tests.harness import Admin
from tests.policy.common import MAYA, SAM, bridge_with, effects
from waha_mcp.policy import Refusal
from waha_mcp.policy.call import IN_BASE64, Call
from waha_mcp.policy.question import File
from waha_mcp.policy.sameness import seen_digest
from waha_mcp.sandbox import SandboxInfo
from waha_mcp.tools.catalog import CATALOG, ArgumentError
from waha_mcp.tools.local_files import decoded
from waha_mcp.tools.toolsets import load_tools

pytestmark = pytest.mark.anyio

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(40)).decode()
WRAPPED = "\n".join(PNG[at : at + 20] for at in range(0, len(PNG), 20))
#: A message of Sam's, by its short id and with more parts.
MESSAGE, LONGER = f"false_{SAM}_3EB0AA", f"false_{SAM}_3EB0AA_{SAM}"
GROUP = "120363041234567890@g.us"
ME = "12025550100@c.us"


class _Waha:
    url, session = "http://127.0.0.1:3000", "default"


class _Directory:
    me = frozenset({ME})


class _Context:
    waha, directory = _Waha(), _Directory()


def seen(tool: str, arguments: dict[str, Any], *files: File) -> str:
    load_tools()
    record = CATALOG[tool]
    parsed = record.parse(arguments)
    parsed.pop("allow_repeat")
    context: Any = _Context()
    held = [File.of(name, IN_BASE64, decoded(parsed[name])[0]) for name in record.encoded if parsed[name]]
    return seen_digest(Call(record, parsed, context, files=(*files, *held), named_messages=defaultdict(dict)))


def text(**more: Any) -> tuple[str, dict[str, Any]]:
    return "send_text", {"chat": SAM, "text": "Come at nine"} | more


def media(**more: Any) -> tuple[str, dict[str, Any]]:
    return "send_media", {"chat": SAM, "kind": "image", "data": PNG} | more


def poll(**more: Any) -> tuple[str, dict[str, Any]]:
    return "send_poll", {"chat": SAM, "question": "When?", "options": ["Nine", "Ten"]} | more


def event(**more: Any) -> tuple[str, dict[str, Any]]:
    return "send_event", {"chat": SAM, "name": "Lunch", "start": "2026-12-01T12:00:00+00:00"} | more


SAME: dict[str, tuple[tuple[str, dict[str, Any]], tuple[str, dict[str, Any]]]] = {
    "a zero-width space": (text(), text(text="Come\u200b at nine")),
    "a word joiner at the end": (text(), text(text="Come at nine\u2060")),
    "a bidi mark": (text(), text(text="\u202aCome at nine\u202c")),
    "a tag character": (text(), text(text="Come at nine\U000e0041")),
    "a soft hyphen": (text(), text(text="Come at ni\u00adne")),
    "a combining grapheme joiner": (text(), text(text="Co\u034fme at nine")),
    "a Hangul filler": (text(), text(text="Come at nine\u3164")),
    "a trailing blank": (text(), text(text="Come at nine ")),
    "trailing line breaks": (text(), text(text="Come at nine\n\n")),
    "leading blanks": (text(), text(text="  Come at nine")),
    "two blanks between words": (text(), text(text="Come  at nine")),
    "a no-break space": (text(), text(text="Come\u00a0at nine")),
    "a tab": (text(), text(text="Come\tat nine")),
    "a blank at the end of a line": (text(text="Come\nat nine"), text(text="Come \nat nine")),
    "another kind of line break": (text(text="Come\nat nine"), text(text="Come\r\nat nine")),
    "letters put together": (text(text="Caf\u00e9"), text(text="Cafe\u0301")),
    "an emoji with and without its style": (text(text="I \u2764 it"), text(text="I \u2764\ufe0f it")),
    "a mention that the text does not hold": (text(), text(mentions=[MAYA])),
    "another spelling of a card's number": (
        ("send_contact_cards", {"chat": SAM, "contacts": [{"name": "Maya", "phone": "+447700900142"}]}),
        ("send_contact_cards", {"chat": SAM, "contacts": [{"name": "Maya", "phone": "44 7700 900142"}]}),
    ),
    "another id of a row": (
        ("send_list", {"chat": SAM, "title": "When?", "button": "Look", "sections": [{"rows": [{"title": "Nine"}]}]}),
        (
            "send_list",
            {"chat": SAM, "title": "When?", "button": "Look", "sections": [{"rows": [{"title": "Nine", "id": "x"}]}]},
        ),
    ),
    "a fragment of a URL": (
        ("send_media", {"chat": SAM, "kind": "image", "url": "https://example.com/a.png"}),
        ("send_media", {"chat": SAM, "kind": "image", "url": "https://example.com/a.png#1"}),
    ),
    "some seconds": (event(), event(start="2026-12-01T12:00:40+00:00")),
    "no mentions": (text(), text(mentions=[])),
    "mentions in another order": (text(mentions=[SAM, MAYA]), text(mentions=[MAYA, SAM])),
    "one mention twice": (text(mentions=[MAYA]), text(mentions=[MAYA, MAYA])),
    "a preview": (text(), text(link_preview=True)),
    "a preview of one's own": (
        text(text="See https://example.com/x"),
        (
            "send_link_preview",
            {"chat": SAM, "text": "See https://example.com/x", "link": "https://example.com/x", "title": "A title"},
        ),
    ),
    "the account among the members": (
        ("create_group", {"subject": "Hikers", "participants": [SAM]}),
        ("create_group", {"subject": "Hikers", "participants": [SAM, ME]}),
    ),
    "the account among those who see a story": (
        ("post_text_status", {"text": "Hello", "people": [SAM]}),
        ("post_text_status", {"text": "Hello", "people": [ME, SAM]}),
    ),
    "a zero below zero": (
        ("send_location", {"chat": SAM, "latitude": 0.0, "longitude": 18.0}),
        ("send_location", {"chat": SAM, "latitude": -0.0, "longitude": 18.0}),
    ),
    "the 180th meridian from the other side": (
        ("send_location", {"chat": SAM, "latitude": 1.0, "longitude": 180}),
        ("send_location", {"chat": SAM, "latitude": 1.0, "longitude": -180}),
    ),
    "an option as it is by default": (text(), text(link_preview=False)),
    "nothing replied to": (text(), text(reply_to=None)),
    "another spelling of the message replied to": (text(reply_to=MESSAGE), text(reply_to=LONGER)),
    "base64 in lines": (media(), media(data=WRAPPED)),
    "a data URL": (media(), media(data=f"data:image/png;base64,{PNG}")),
    "the type stated": (media(), media(mimetype="image/png")),
    "a file name": (media(), media(filename="picture.png")),
    "a blank caption": (media(), media(caption=" ")),
    "one answer, said outright": (poll(), poll(multiple_answers=False)),
    "an option with a blank": (poll(), poll(options=["Nine", "Ten "])),
    "a description of nothing but blanks": (event(), event(description=" \u200b")),
    "another time zone": (event(), event(start="2026-12-01T13:00:00+01:00")),
    "a place a finger's breadth away": (
        ("send_location", {"chat": SAM, "latitude": 59.123456, "longitude": 18.0}),
        ("send_location", {"chat": SAM, "latitude": 59.123457, "longitude": 18}),
    ),
    "a card without a part": (
        ("send_contact_cards", {"chat": SAM, "contacts": [{"name": "Maya", "phone": "+447700900142"}]}),
        ("send_contact_cards", {"chat": SAM, "contacts": [{"name": "Maya ", "phone": "+447700900142"}]}),
    ),
    "a card whose firm is blank": (
        ("send_contact_cards", {"chat": SAM, "contacts": [{"name": "Maya", "phone": "+447700900142"}]}),
        (
            "send_contact_cards",
            {"chat": SAM, "contacts": [{"name": "Maya", "phone": "+447700900142", "organization": " "}]},
        ),
    ),
    "people in another order": (
        ("add_participants", {"group": GROUP, "people": [SAM, MAYA]}),
        ("add_participants", {"group": GROUP, "people": [MAYA, SAM]}),
    ),
}  # fmt: skip

OTHER: dict[str, tuple[tuple[str, dict[str, Any]], tuple[str, dict[str, Any]]]] = {
    "another word": (text(), text(text="Come at ten")),
    "another case": (text(), text(text="COME at nine")),
    "another line": (text(), text(text="Come\nat nine")),
    "an accent": (text(text="Cafe"), text(text="Caf\u00e9")),
    "somebody else": (text(), text(chat=MAYA)),
    "the account itself": (text(), text(chat=ME)),
    "another text with a preview": (
        text(text="See https://example.com/y"),
        (
            "send_link_preview",
            {"chat": SAM, "text": "See https://example.com/x", "link": "https://example.com/x", "title": "A title"},
        ),
    ),
    "the other side of the equator": (
        ("send_location", {"chat": SAM, "latitude": 1.0, "longitude": 18.0}),
        ("send_location", {"chat": SAM, "latitude": -1.0, "longitude": 18.0}),
    ),
    "a quote": (text(), text(reply_to=MESSAGE)),
    "another quote": (text(reply_to=MESSAGE), text(reply_to=f"false_{SAM}_3EB0BB")),
    "other bytes": (media(), media(data=base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(41)).decode())),
    "a caption": (media(), media(caption="Look")),
    "another kind": (media(), media(kind="file")),
    "several answers": (poll(), poll(multiple_answers=True)),
    "options in another order": (poll(), poll(options=["Ten", "Nine"])),
    "another hour": (event(), event(start="2026-12-01T12:00:00+01:00")),
    "another card": (
        ("send_contact_cards", {"chat": SAM, "contacts": [{"name": "Maya", "phone": "+447700900142"}]}),
        ("send_contact_cards", {"chat": SAM, "contacts": [{"name": "Maya", "phone": "+447700900143"}]}),
    ),
    "another row": (
        ("send_list", {"chat": SAM, "title": "When?", "button": "Look", "sections": [{"rows": [{"title": "Nine"}]}]}),
        ("send_list", {"chat": SAM, "title": "When?", "button": "Look", "sections": [{"rows": [{"title": "Ten"}]}]}),
    ),
    "another place": (
        ("send_location", {"chat": SAM, "latitude": 59.1234, "longitude": 18.0}),
        ("send_location", {"chat": SAM, "latitude": 59.1235, "longitude": 18.0}),
    ),
}  # fmt: skip


@pytest.mark.parametrize("how", SAME)
def test_what_looks_alike_to_the_recipient_is_the_same(how: str) -> None:
    one, other = SAME[how]
    assert seen(*one) == seen(*other)


@pytest.mark.parametrize("how", OTHER)
def test_what_the_recipient_could_tell_apart_is_not_the_same(how: str) -> None:
    one, other = OTHER[how]
    assert seen(*one) != seen(*other)


def test_a_file_is_the_same_by_its_bytes_wherever_they_come_from() -> None:
    content = base64.b64decode(PNG)
    path = {"chat": SAM, "kind": "image", "path": "a.png"}
    by_name = seen("send_media", path, File.of("path", "a.png", content))
    assert by_name == seen("send_media", path | {"path": "b.png"}, File.of("path", "b.png", content))
    assert by_name == seen(*media())
    assert by_name != seen("send_media", path, File.of("path", "a.png", content + b"\n"))


@pytest.mark.parametrize("spelling", ["Only once\u200b", " Only once", "Only\u00a0once\n"])
async def test_a_new_spelling_of_what_was_sent_is_refused(spelling: str, sandbox: SandboxInfo, admin: Admin) -> None:
    async with bridge_with(sandbox) as bridge:
        await admin.clear()
        await bridge.call("send_text", {"chat": SAM, "text": "Only once"})
        with pytest.raises(Refusal, match="The same was done"):
            await bridge.call("send_text", {"chat": SAM, "text": spelling})
        assert await effects(admin) == ["/api/sendText"]


async def test_a_copy_of_a_file_that_was_sent_is_refused(sandbox: SandboxInfo, tmp_path: Path) -> None:
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text("The same words")
    async with bridge_with(sandbox, outbox=tmp_path) as bridge:
        await bridge.call("send_media", {"chat": SAM, "kind": "file", "path": "a.txt"})
        with pytest.raises(Refusal, match="The same was done"):
            await bridge.call("send_media", {"chat": SAM, "kind": "file", "path": "b.txt"})


async def test_bytes_that_are_none_are_refused_as_such(sandbox: SandboxInfo, admin: Admin) -> None:
    async with bridge_with(sandbox) as bridge:
        await admin.clear()
        with pytest.raises(ArgumentError, match="not valid base64"):
            await bridge.call("send_media", {"chat": SAM, "kind": "image", "data": "no base64!"})
        assert await effects(admin) == []
