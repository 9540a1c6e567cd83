"""Calls, errors and instructions as a client sees them, in both protocol eras."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest
from mcp import Client
from mcp.types import AudioContent, ImageContent

from tests.harness import ERAS, Admin, Era, app_for, memory_client, payload, texts
from waha_mcp.app.actions import Action
from waha_mcp.bridge import Bridge
from waha_mcp.sandbox import ANSWERING_CHAT, SandboxInfo
from waha_mcp.server.protocol import Protocol
from waha_mcp.waha.models import Attachment, Result

pytestmark = pytest.mark.anyio


@pytest.fixture(params=ERAS)
async def client(request: pytest.FixtureRequest, sandbox: SandboxInfo) -> AsyncIterator[Client]:
    era: Era = request.param
    bridge = Bridge(app_for(sandbox, sandbox.keys["read_send"]))
    async with bridge, memory_client(Protocol(lambda _: bridge).server, era) as connected:
        yield connected


async def test_a_call_answers_with_the_same_json_as_text_and_as_structure(client: Client) -> None:
    assert payload(await client.call_tool("list_chats", {"limit": 3}))["chats"]


@pytest.mark.parametrize(
    ("tool", "arguments", "names"),
    [
        ("list_chats", {"limit": 0}, "limit"),
        ("list_chats", {"limit": "many"}, "limit"),
        ("list_chats", {"size": 3}, "size"),
        ("list_chats", {"cursor": "nonsense"}, "cursor"),
        ("get_messages", {}, "chat"),
        ("get_messages", {"chat": "+12025550123", "since": "the day before"}, "since"),
        ("send_text", {"chat": "+12025550123"}, "text"),
        ("send_text", {"chat": "+12025550123", "text": ""}, "text"),
        ("send_text", {"chat": "+12025550123", "text": "x", "reply_to": "abc"}, "reply_to"),
        ("send_media", {"chat": "+12025550123", "kind": "gif", "url": "https://example.com/a.gif"}, "kind"),
        ("send_media", {"chat": "+12025550123", "kind": "image", "url": "file:///etc/passwd"}, "url"),
        ("react", {"message_id": "17", "emoji": "x"}, "message_id"),
        ("check_number", {"phone": "12"}, "phone"),
    ],
)
async def test_wrong_arguments_are_an_error_that_names_the_property_and_sends_nothing(
    tool: str, arguments: dict[str, Any], names: str, client: Client, admin: Admin
) -> None:
    await client.list_tools()
    await admin.clear()
    result = await client.call_tool(tool, arguments)
    assert result.is_error
    assert names in texts(result)
    assert await admin.requests() == []


async def test_a_failure_of_waha_is_an_error_with_a_next_step_and_no_echo(client: Client, admin: Admin) -> None:
    await admin.request("POST", "/sandbox/session", {"session": "default", "status": "SCAN_QR_CODE"})
    result = await client.call_tool("send_text", {"chat": ANSWERING_CHAT, "text": "a text worth hiding"})
    assert result.is_error
    assert "QR code" in texts(result)
    assert "worth hiding" not in texts(result)


@pytest.mark.parametrize("era", ERAS)
async def test_a_send_whose_answer_is_lost_and_cannot_be_looked_up_is_said_to_be_of_unknown_outcome(
    era: Era, sandbox: SandboxInfo, admin: Admin
) -> None:
    bridge = Bridge(app_for(sandbox, sandbox.keys["send"]))
    async with bridge, memory_client(Protocol(lambda _: bridge).server, era) as client:
        await client.list_tools()
        await admin.fault("/api/sendText", drop=True, after=True)
        await admin.clear()
        result = await client.call_tool("send_text", {"chat": ANSWERING_CHAT, "text": "Once only"})
        assert result.is_error
        assert "unknown" in texts(result)
        # Whose account the send counts for is asked first.
        assert [r["path"] for r in await admin.requests()] == ["/api/sessions", "/api/sendText"]


@pytest.mark.slow
async def test_cancelling_a_call_cancels_its_request(client: Client, admin: Admin, sandbox: SandboxInfo) -> None:
    await client.list_tools()
    await admin.fault("/api/default/chats/overview", delay=60)
    with anyio.move_on_after(0.3) as given_up:
        await client.call_tool("list_chats", {})
    assert given_up.cancelled_caught
    with anyio.fail_after(5):
        while [r["status"] for r in await admin.requests() if "overview" in r["path"]] != [None]:  # noqa: ASYNC110
            await anyio.sleep(0.02)


async def test_an_unexpected_failure_inside_is_an_error_without_its_details(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("the secret inside")

    monkeypatch.setattr(Bridge, "call", broken)
    result = await client.call_tool("list_chats", {})
    assert result.is_error
    assert "secret" not in texts(result)


class Sound(Result):
    seconds: int


async def test_what_is_attached_to_a_result_follows_its_json_as_image_and_audio(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def shown(*_: Any, **__: Any) -> Sound:
        pieces = Attachment("image", "image/png", b"\x89PNG"), Attachment("audio", "audio/ogg", b"OggS")
        return Sound(seconds=3).attach(*pieces)

    monkeypatch.setattr(Bridge, "call", shown)
    result = await client.call_tool("get_media", {"message_id": "false_1@c.us_A"})
    assert result.structured_content is None
    assert payload(result) == {"seconds": 3}
    assert result.content[1:] == [
        ImageContent(data=base64.b64encode(b"\x89PNG").decode(), mime_type="image/png"),
        AudioContent(data=base64.b64encode(b"OggS").decode(), mime_type="audio/ogg"),
    ]


@pytest.mark.parametrize(
    ("actions", "says", "leaves_out"),
    [
        ({Action.READ}, "list_chats", "send"),
        ({Action.SEND}, "cannot read", "list_chats"),
        (set(), "get_status", "list_chats"),
    ],
)
async def test_instructions_speak_only_of_what_the_grant_holds(
    actions: set[Action], says: str, leaves_out: str, sandbox: SandboxInfo
) -> None:
    bridge = Bridge(app_for(sandbox, sandbox.keys["full"], actions=frozenset(actions)))
    async with memory_client(Protocol(lambda _: bridge).server, "auto") as client:
        text = client.instructions or ""
    assert says in text
    assert leaves_out not in text
    assert len(text.encode()) < 2048
