"""What every client does, line by line of the table, and what of it reached the model. The sandbox counts the effects.

Each line returns "" where all went as it should, or one of the words of `clients`; what must hold for every client is
asserted. Answers are judged by the words in them, not by their shape.
"""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Callable
from typing import Any

from tests.clients_real.clients import ALL_REQUIRED, AS_TEXT, CONSOLE, DROPPED, ENDED, STALE, UNPREPARED_PROBE
from tests.clients_real.driven import ALLOWED, ASKED, DENIED, TRANSCRIPT, Driven
from tests.openings import Opening, noted
from waha_mcp.app.actions import Action
from waha_mcp.sandbox.sample_files import jpeg, ogg
from waha_mcp.server.protocol import UNHEARD_TTL
from waha_mcp.tools.catalog import CATALOG, Tool
from waha_mcp.tools.toolsets import load_tools

#: A picture and a voice note of the sandbox: the chat, and how to find the message.
PICTURE, VOICE = (ASKED, "Did you see the light this morning?"), (ALLOWED, None)


def lists_tools(client: Driven) -> str:
    assert client.tools().keys() >= _expected().keys()
    return ""


def converts_schemas(client: Driven) -> str:
    """Each tool's description, and each argument's name, description and choices, reach the model."""
    offered, required = client.tools(), []
    for name, tool in _expected().items():
        assert _plain(tool.description) in _plain(offered[name]["description"]), name
        theirs, ours = offered[name]["schema"], tool.input_schema
        assert theirs["properties"].keys() == ours["properties"].keys(), name
        for argument, schema in ours["properties"].items():
            told = _plain(json.dumps(theirs["properties"][argument], ensure_ascii=False))
            assert _plain(json.dumps(schema["description"], ensure_ascii=False)[1:-1]) in told, (name, argument)
            assert all(json.dumps(each) in told for each in schema.get("enum", ())), (name, argument)
        assert set(theirs.get("required", ())) >= set(ours.get("required", ())), name
        required.append(set(theirs.get("required", ())) == set(ours.get("required", ())))
    return "" if all(required) else ALL_REQUIRED


def opens_again(client: Driven) -> str:
    """A later start gets the same before the SDK is imported, and its calls work."""
    [first, *_] = _listings(noted(client.notes))
    assert not first.prepared
    with client.again() as second:
        openings = noted(second.notes)
        [again, *_] = _listings(openings)
        assert again.prepared
        assert again.before_sdk
        # Only how long it may be cached differs.
        assert _told(again) == _told(first)
        assert second.tools() == client.tools()
        assert "Maya Lindqvist" in second.call("list_chats", limit=5).text
    return "" if all(each.prepared for each in openings) else UNPREPARED_PROBE


def lists_chats(client: Driven) -> str:
    got = client.call("list_chats", limit=5)
    assert "Maya Lindqvist" in got.text, got
    assert "Project Kestrel" in got.text
    return ""


def reads_messages(client: Driven) -> str:
    got = client.call("get_messages", chat="Maya Lindqvist", limit=15)
    assert "Please bring the signed lease, I need both copies on Friday" in got.text, got
    return ""


def sees_a_picture(client: Driven) -> str:
    got = client.call("get_media", message_id=_message(client, *PICTURE))
    assert "image/jpeg" in got.text, got
    return _how(got.text, got.pictures, jpeg())


def reads_a_voice_note(client: Driven) -> str:
    """The App's transcript of the voice note reaches the model."""
    got = client.call("get_media", message_id=_message(client, *VOICE))
    assert TRANSCRIPT in got.text, got
    assert base64.b64encode(ogg()).decode() not in got.text
    return ""


def hears_a_voice_note(client: Driven) -> str:
    """Without a transcript, the sound itself reaches the model."""
    client.no_transcripts()
    got = client.call("get_media", message_id=_message(client, *VOICE))
    return ENDED if got.raised else _how(got.text, got.sounds, ogg())


def sends(client: Driven) -> str:
    got = client.call("send_text", chat="Sam Okafor", text="On my way")
    assert "Sam Okafor" in got.text, got
    assert client.judge.delivered(ALLOWED, "On my way") == 1
    return ""


def is_refused(client: Driven) -> str:
    """The policy's words reach the model, and nothing happens."""
    client.judge.forget()
    got = client.call("send_text", chat=DENIED, text="On my way")
    assert "Nothing was done" in got.text, got
    assert client.judge.effects() == []
    return ""


def asks(client: Driven) -> str:
    """A person at the client, or at the terminal if the client cannot ask, says yes: then it is sent, once."""
    text, how = "See you on Friday", ""
    got = client.call("send_text", chat="Maya Lindqvist", text=text)
    if got.asked:
        assert "Maya Lindqvist" in got.asked[0]
        assert text in got.asked[0]
    else:
        how = CONSOLE
        assert client.judge.delivered(ASKED, text) == 0
        [waiting] = json.loads(client.waha_mcp("approvals", "--json"))
        assert waiting["id"] in got.text, got
        client.waha_mcp("approve", waiting["id"], "--yes")
        got = client.call("send_text", chat="Maya Lindqvist", text=text)
    assert "Maya Lindqvist" in got.text, got
    assert client.judge.delivered(ASKED, text) == 1
    return how


def is_told_of_a_revoked_tool(client: Driven) -> str:
    """The key is narrowed meanwhile: the model is told, nothing happens, and the tool disappears from its list."""
    flags = {"isAdmin": False, "session": "default", "isActive": True, "actions": {"read": True}}
    client.judge.ask("PUT", f"/api/keys/{client.key['id']}", flags)
    client.judge.forget()
    got = client.call("send_text", chat="Sam Okafor", text="And again")
    assert re.search(r"not granted|is no longer available", got.text), got
    assert client.judge.delivered(ALLOWED, "And again") == 0
    assert "Maya Lindqvist" in client.call("list_chats", limit=5).text
    # A client may cache a listing for that long.
    end = time.monotonic() + UNHEARD_TTL / 1000 + 1
    while "send_text" in client.tools():
        if time.monotonic() > end:
            return STALE
    return ""


#: The lines of the table in the order in which a client goes through them; the last one takes actions from its key.
LINES: dict[str, Callable[[Driven], str]] = {
    "tools": lists_tools,
    "schemas": converts_schemas,
    "opens again": opens_again,
    "chats": lists_chats,
    "messages": reads_messages,
    "picture": sees_a_picture,
    "voice note as text": reads_a_voice_note,
    "its sound": hears_a_voice_note,
    "sends": sends,
    "refused": is_refused,
    "asked": asks,
    "revoked": is_told_of_a_revoked_tool,
}


def outcomes(client: Driven) -> dict[str, str]:
    """The outcome of each line.

    Raises:
        AssertionError: something went wrong that no client may get wrong.
    """
    return {line: run(client) for line, run in LINES.items()}


def _how(text: str, data: tuple[str, ...], file: bytes) -> str:
    """How a file reached the model."""
    encoded = base64.b64encode(file).decode()
    if encoded in data:
        return ""
    return AS_TEXT if encoded in text else DROPPED


def _listings(openings: list[Opening]) -> list[Opening]:
    return [each for each in openings if "tools/list" in each.results]


def _told(opening: Opening) -> dict[str, dict[str, Any]]:
    return {request: result | {"ttlMs": 0} for request, result in opening.results.items()}


def _expected() -> dict[str, Tool]:
    """The tools that the App's key and toolsets offer."""
    load_tools()
    actions = {None, Action.READ, Action.SEND}
    return {name: tool for name, tool in CATALOG.items() if tool.action in actions}


def _plain(text: str) -> str:
    """A text without blanks: some converters reformat descriptions."""
    return re.sub(r"\s+|\\n", "", text)


def _message(client: Driven, chat: str, text: str | None) -> str:
    """The id of the chat's latest message with this text, or, without a text, with a file."""
    rows: list[dict[str, Any]] = client.judge.get(f"/api/default/chats/{chat}/messages?limit=100&downloadMedia=false")
    return str(next(r["id"] for r in rows if (text in (r["body"] or "") if text else r["hasMedia"])))
